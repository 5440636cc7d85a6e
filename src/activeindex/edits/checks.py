"""Checks of images and parameters that edits share."""

import math
from typing import TypeAlias

from PIL import Image

from activeindex.errors import ActiveIndexError, InputError

Color: TypeAlias = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

MAX_PIXELS = 100_000_000
"""No edit makes a larger image than this; about where Pillow warns of decompression bombs."""


class EditNotApplicableError(ActiveIndexError):
    """The edit cannot be applied to this image, for instance because it is too small.

    The lists and the random composition catch it and record the edit as skipped.

    Args:
        edit: The edit.
        image: The image that it was meant for.
        reason: The obstacle, as the end of a sentence.
    """

    def __init__(self, edit: str, image: Image.Image, reason: str) -> None:
        super().__init__(f"{edit}: an image of {image.width}x{image.height} pixels {reason}")


def require_rgb(image: Image.Image) -> None:
    """Require an RGB image of at least one pixel.

    Raises:
        InputError: The image has another mode, or no pixels.
    """
    if image.mode != "RGB":
        raise InputError(f"image: expected mode RGB, found {image.mode}")
    if image.width < 1 or image.height < 1:
        raise InputError(f"image: expected at least 1x1 pixels, found {image.width}x{image.height}")


def require_between(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Require a finite parameter in [low, high].

    Raises:
        InputError: The value is outside; the text names the parameter.
    """
    if not (math.isfinite(value) and low <= value <= high):
        wanted = f"from {low} to {high}" if math.isfinite(high) else f"of at least {low}"
        raise InputError(f"{name}: expected a number {wanted}, found {value}")


def require_share(name: str, value: float) -> None:
    """Require a parameter in (0, 1].

    Raises:
        InputError: The value is outside; the text names the parameter.
    """
    if not 0 < value <= 1:
        raise InputError(f"{name}: expected a number above 0 and up to 1, found {value}")


def require_integer(name: str, value: int, low: int, high: int) -> None:
    """Require a whole number from low to high.

    Raises:
        InputError: The value is outside or of another type; the text names the parameter.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name}: expected a whole number from {low} to {high}, found {value}")


def require_affordable(edit: str, image: Image.Image, width: float, height: float) -> None:
    """Require that a result has at most :data:`MAX_PIXELS` pixels.

    Long thin images reach that soon: a strip of 1x100000 pixels padded to a square has 10^10.

    Raises:
        EditNotApplicableError: The result would be larger.
    """
    if width * height > MAX_PIXELS:
        raise EditNotApplicableError(
            edit, image, f"would become {width:.0f}x{height:.0f}, more than {MAX_PIXELS} pixels"
        )
