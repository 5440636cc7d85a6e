"""Edits that resample the image along turned or moved axes: rotations and perspective."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from activeindex.edits.checks import (
    EditNotApplicableError,
    require_affordable,
    require_between,
    require_rgb,
)
from activeindex.errors import ShapeError

_BILINEAR = Image.Resampling.BILINEAR


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate on a canvas that grows to hold everything; its corners are black (bilinear).

    Args:
        image: RGB, any size.
        degrees: Counter-clockwise, -360 to 360.

    Raises:
        InputError: The image is not RGB, or the angle is outside.
        EditNotApplicableError: The canvas would have too many pixels.
    """
    require_rgb(image)
    require_between("rotation degrees", degrees, -360, 360)
    cos, sin = _cos_sin(degrees)
    require_affordable(
        "rotation",
        image,
        image.width * cos + image.height * sin,
        image.width * sin + image.height * cos,
    )
    return image.rotate(degrees, _BILINEAR, expand=True)


def rotate_and_crop(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate about the centre and keep the largest upright rectangle without black corners.

    Args:
        image: RGB, any size.
        degrees: Counter-clockwise, -360 to 360.

    Raises:
        InputError: The image is not RGB, or the angle is outside.
        EditNotApplicableError: Not one whole pixel fits between the corners.
    """
    require_rgb(image)
    require_between("rotation degrees", degrees, -360, 360)
    # The tiny amount keeps rounding errors from costing a pixel at 0 and 90 degrees.
    width, height = (math.floor(side + 1e-6) for side in _inner_size(*image.size, degrees))
    if width < 1 or height < 1:
        raise EditNotApplicableError("rotate", image, f"has no inside at {degrees:.1f} degrees")
    # Rounded, so that quarter turns read whole pixels and mix in nothing of their neighbours.
    cos = round(math.cos(math.radians(degrees)), 15)
    sin = round(math.sin(math.radians(degrees)), 15)
    # Result (x, y) is read at the image's centre + R · ((x, y) - centre of the result).
    x0 = image.width / 2 - cos * width / 2 + sin * height / 2
    y0 = image.height / 2 - sin * width / 2 - cos * height / 2
    coefficients = (cos, -sin, x0, sin, cos, y0)
    return image.transform((width, height), Image.Transform.AFFINE, coefficients, _BILINEAR)


def perspective_transform(
    image: Image.Image, corner_shifts: npt.NDArray[np.float64]
) -> Image.Image:
    """Move the four corners and keep an upright rectangle inside, so no black border stays.

    Args:
        image: RGB, any size.
        corner_shifts: Shape (4, 2): how many pixels the upper left, upper right, lower right and
            lower left corner move to the right and down.

    Raises:
        InputError: The image is not RGB, or the shifts have another shape.
        EditNotApplicableError: The corners moved past each other, as on tiny images.
    """
    require_rgb(image)
    if corner_shifts.shape != (4, 2):
        raise ShapeError("corner_shifts", (4, 2), corner_shifts.shape)
    width, height = image.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    moved = corners + corner_shifts
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = moved.tolist()
    left, right = math.ceil(max(x0, x3)), math.floor(min(x1, x2))
    top, bottom = math.ceil(max(y0, y1)), math.floor(min(y2, y3))
    if right <= left or bottom <= top or not _is_convex(moved):
        raise EditNotApplicableError(
            "perspective_transform", image, "is too small for these shifts"
        )
    require_affordable("perspective_transform", image, right - left, bottom - top)
    coefficients = _projection(moved - (left, top), corners)
    size = (right - left, bottom - top)
    return image.transform(size, Image.Transform.PERSPECTIVE, coefficients, _BILINEAR)


def _cos_sin(degrees: float) -> tuple[float, float]:
    return abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))


def _inner_size(width: int, height: int, degrees: float) -> tuple[float, float]:
    """Sides of the largest upright rectangle inside a rotated rectangle.

    The solution (a, b) maximises a·b under a·cos + b·sin ≤ width and a·sin + b·cos ≤ height.
    """
    cos, sin = _cos_sin(degrees)
    short = min(width, height)
    if short <= 2 * sin * cos * max(width, height) or abs(cos - sin) < 1e-9:
        # The image is so thin that only its two long sides touch the rectangle.
        along, across = short / 2 / sin, short / 2 / cos
        return (along, across) if width >= height else (across, along)
    both = cos * cos - sin * sin
    return (width * cos - height * sin) / both, (height * cos - width * sin) / both


def _is_convex(corners: npt.NDArray[np.float64]) -> bool:
    """True if corners (4, 2), given clockwise on the screen, all turn to the right."""
    sides = np.roll(corners, -1, axis=0) - corners
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    return bool((turns > 0).all())


def _projection(
    result: npt.NDArray[np.float64], source: npt.NDArray[np.float64]
) -> tuple[float, ...]:
    """Solve for the projective map (8 coefficients) from the result's points to the source's.

    With (a … h): source x = (a x + b y + c) / (g x + h y + 1), y likewise with d, e, f.
    """
    rows = []
    for (x, y), (u, v) in zip(result.tolist(), source.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return tuple(np.linalg.solve(np.array(rows), source.reshape(-1)).tolist())
