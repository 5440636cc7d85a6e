"""Photographs that ship with this package, and a collection made of others.

`pictures/SOURCES.md` says where they come from.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import write_png
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels
from activeindex.runtime.reporting import Progress

_PICTURES = Path(str(files("activeindex.demo"))) / "pictures"
PHOTOGRAPHS = _PICTURES / "photographs"
"""Folder of the photographs to be released."""
_CROP_SIZE = 224


def write_photographs(folder: Path) -> None:
    """Write the photographs to be released."""
    for path in list_images(PHOTOGRAPHS):
        _write_once(folder / f"{path.stem}.png", np.asarray(read_rgb(path)))


def write_references(folder: Path, count: int, seed: int, progress: Progress) -> None:
    """Write the textures and random crops of them, ``count`` images in all."""
    textures = [(path.stem, read_rgb(path)) for path in list_images(_PICTURES / "textures")]
    for number, (name, image) in enumerate(_whole_then_crops(textures, count, seed)):
        _write_once(folder / f"{number:05d}_{name}.png", np.asarray(image))
        progress.advance()


def _write_once(path: Path, pixels: Pixels) -> None:
    """Write pixels unless the file has them: a newer file would count as another input."""
    if not path.exists() or not np.array_equal(np.asarray(read_rgb(path)), pixels):
        write_png(path, pixels)


def _whole_then_crops(
    pictures: list[tuple[str, Image.Image]], count: int, seed: int
) -> Iterator[tuple[str, Image.Image]]:
    yield from pictures[:count]
    for number in range(len(pictures), count):
        generator = np.random.default_rng([seed, number])
        name, image = pictures[number % len(pictures)]
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
