"""Small images whose edited pixels can be written down, and random ones for properties."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from PIL import Image

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CYAN, YELLOW, MAGENTA = (0, 255, 255), (255, 255, 0), (255, 0, 255)


def image_of(rows: Sequence[Sequence[tuple[int, int, int]]]) -> Image.Image:
    """An image written down pixel by pixel."""
    return Image.fromarray(np.array(rows, dtype=np.uint8))


def pixels(image: Image.Image) -> list[list[tuple[int, int, int]]]:
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def array(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64)


def plain(color: tuple[int, int, int], width: int = 8, height: int = 8) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def random_images(longest_side: int = 96) -> st.SearchStrategy[Image.Image]:
    sides = st.integers(1, longest_side)
    return st.builds(noise, sides, sides, st.integers(0, 1000))
