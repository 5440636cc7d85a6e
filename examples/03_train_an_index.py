"""Train an index on features, keep it, and activate against it."""

import numpy as np
from pictures import collection, pictures

import activeindex as ai

# Any matrix (n, d) trains an index. These features also name their extractor, so the index refuses
# pictures that go through another one.
features = ai.extract(collection())
index = ai.train_index(features, "IVF16,PQ16x8np")
print(f"{index} is trained on {len(features)} features of dimension {features.shape[1]}")

# A feature gets a code, and the code is decoded to the reconstruction that a search sees.
quantiser = index.quantiser
codes = quantiser.encode(features.values)
error = np.linalg.norm(features.values - quantiser.decode(codes), axis=1).mean()
print(f"codes of {quantiser.code_size} bytes, mean distance to the reconstruction {error:.3f}")

# Two small files, from which any machine can activate.
index.save("index")
print(ai.activate(pictures() / "coffee.png", "index", preset="fast"))
