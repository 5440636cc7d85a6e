"""Photographs of scikit-image and scikit-learn, and a collection made of them.

The files are located without importing the packages, which is slow.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.errors import MissingExtraError
from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import write_png
from activeindex.images.levels import Pixels
from activeindex.runtime.reporting import Progress

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

# Protected photographs are scaled down to this many pixels, to keep the demo short.
_LONGEST_SIDE = 640
_CROP_SIZE = 224


def find_photograph(name: str) -> Path:
    """Find the file of ``package/file``.

    Raises:
        MissingExtraError: If the package is not installed or has no such file.
    """
    package, _, file = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / _FOLDERS[package] / file
        if path.is_file():
            return path
    distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    raise MissingExtraError(distribution, "demo", f"the demo's photograph {file}")


def write_protected(folder: Path) -> None:
    """Write the photographs to be released."""
    for name in PROTECTED:
        image = read_rgb(find_photograph(name))
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        _write_once(folder / f"{Path(name).stem}.png", np.asarray(image))


def write_references(folder: Path, count: int, seed: int, progress: Progress) -> None:
    """Write the other photographs and random crops of them, ``count`` images in all."""
    photographs = [(Path(name).stem, read_rgb(find_photograph(name))) for name in OTHERS]
    for number, (name, image) in enumerate(_whole_then_crops(photographs, count, seed)):
        _write_once(folder / f"{number:05d}_{name}.png", np.asarray(image))
        progress.advance()


def _write_once(path: Path, pixels: Pixels) -> None:
    """Write pixels unless the file has them: a newer file would count as another input."""
    if not path.exists() or not np.array_equal(np.asarray(read_rgb(path)), pixels):
        write_png(path, pixels)


def _whole_then_crops(
    photographs: list[tuple[str, Image.Image]], count: int, seed: int
) -> Iterator[tuple[str, Image.Image]]:
    yield from photographs[:count]
    for number in range(len(photographs), count):
        generator = np.random.default_rng([seed, number])
        name, image = photographs[number % len(photographs)]
        side = generator.uniform(0.2, 0.7) * min(image.size)
        left = generator.uniform(0, image.width - side)
        top = generator.uniform(0, image.height - side)
        crop = image.resize(
            (_CROP_SIZE, _CROP_SIZE),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        quarter_turns = Image.Transpose(int(generator.integers(2, 5)))
        yield name, crop.transpose(quarter_turns)
