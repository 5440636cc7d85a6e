"""Photographs of scikit-image and scikit-learn that tests make their collections of.

The files are located without importing the packages, which is slow.
"""

import importlib.util
from pathlib import Path

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}

PROTECTED = (
    "skimage/astronaut.png",
    "skimage/camera.png",
    "skimage/chelsea.png",
    "skimage/coffee.png",
    "skimage/coins.png",
    "skimage/hubble_deep_field.jpg",
    "skimage/moon.png",
    "skimage/motorcycle_left.png",
    "skimage/retina.jpg",
    "skimage/rocket.jpg",
    "sklearn/china.jpg",
    "sklearn/flower.jpg",
)
"""Photographs to be released."""

OTHERS = (
    "skimage/brick.png",
    "skimage/cell.png",
    "skimage/clock_motion.png",
    "skimage/grass.png",
    "skimage/gravel.png",
    "skimage/ihc.png",
    "skimage/page.png",
)
"""Photographs that the reference collection is cut from."""


def find_photograph(name: str) -> Path:
    """Find the file of ``package/file``."""
    package, _, file = name.partition("/")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / _FOLDERS[package] / file
