"""Activate for a FAISS index that exists already, whoever made it."""

import faiss
import numpy as np
from pictures import collection, pictures
from PIL import Image

import activeindex as ai

# An index of another program: features are rotated and cut, and images have ids of their own.
features = ai.extract(collection()).values
index = faiss.index_factory(features.shape[1], "IDMap,OPQ8,IVF16,PQ8x8np")
index.train(features)
index.add_with_ids(features, np.arange(1000, 1000 + len(features)))

# The index holds the code of the original; the picture is activated for that code.
picture = pictures() / "astronaut.png"
index.add_with_ids(ai.extract(picture).values, np.array([42]))
result = ai.activate(picture, index)
print(result)

# A copier crops what was released. Is image 42 found? And would it be without activation?
for name, image in (("activated", result[0].image), ("untouched", Image.open(picture))):
    copy = image.crop((20, 20, image.width - 20, image.height - 20))
    distances, ids = index.search(ai.extract(copy).values, 3)
    print(f"{name}: nearest are {ids[0].tolist()} at {np.round(distances[0], 3).tolist()}")
