"""Pictures and an index to try the examples with; needs ``pip install ".[edits]" scikit-image``."""

import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import activeindex as ai

FOLDER = Path(tempfile.gettempdir()) / "activeindex-examples"
PICTURES = ("astronaut", "chelsea", "coffee", "rocket")
OTHERS = ("brick", "camera", "cell", "coins", "grass", "gravel", "moon", "page")


def pictures() -> Path:
    """A folder of four photographs that are to be protected."""
    folder = FOLDER / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        if not (folder / f"{name}.png").exists():
            image = Image.fromarray(getattr(skimage.data, name)())
            image.thumbnail((240, 240))
            image.save(folder / f"{name}.png")
    return folder


def collection() -> Path:
    """A folder of 400 pieces of other photographs: what an index is trained on."""
    folder = FOLDER / "collection"
    folder.mkdir(parents=True, exist_ok=True)
    photographs = [Image.fromarray(getattr(skimage.data, name)()) for name in OTHERS]
    generator = np.random.default_rng(0)
    for number in range(400):
        image = photographs[number % len(photographs)].convert("RGB")
        side = int(generator.integers(64, min(image.size)))
        left, top = (int(generator.integers(0, size - side + 1)) for size in image.size)
        if not (folder / f"{number:03d}.jpg").exists():
            image.crop((left, top, left + side, top + side)).save(folder / f"{number:03d}.jpg")
    return folder


def trained_index() -> Path:
    """The folder of a small index that is trained on the collection."""
    folder = FOLDER / "index"
    if not folder.exists():
        ai.train_index(ai.extract(collection()), "IVF16,PQ8x8np").save(folder)
    return folder
