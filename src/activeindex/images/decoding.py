"""Image files to 8-bit RGB.

Pillow decodes; this module settles what its modes leave open: orientation from EXIF, alpha
composed on white, palettes and CMYK to RGB, 16-bit grey scaled instead of clipped.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from activeindex.errors import InputError, UnreadableImageError
from activeindex.images.levels import Pixels

MINIMUM_SIDE = 11
"""Smallest side of an image in pixels: SSIM's 11-pixel window and the edits need that much."""

_WHITE = (255, 255, 255, 255)

# The transposition that undoes each EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Exceptions of Pillow for files that are broken behind an intact header.
_BROKEN = (
    *(ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError),
    *(struct.error, Image.DecompressionBombError),
)


@contextmanager
def opened(path: Path, enough: int | None = None) -> Iterator[Image.Image]:
    """Open and load an image file; any fault in it becomes one error, also inside the block.

    Args:
        path: The file.
        enough: See :func:`read_rgb`.

    Raises:
        UnreadableImageError: If the file is missing, not an image, truncated, smaller than
            ``MINIMUM_SIDE`` or larger than Pillow's decompression-bomb limit.
    """
    try:
        with Image.open(path) as image:
            check_sides(path, image.width, image.height)
            if enough is not None:
                image.draft(None, (enough, enough))
            image.load()  # PNG may keep EXIF behind the pixels.
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{path}: expected an image, found another format") from None
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: expected an image, found nothing") from None
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(f"{path}: the image cannot be decoded ({reason})") from None


def check_sides(
    name: object, width: int, height: int, kind: type[InputError] = UnreadableImageError
) -> None:
    """Check that an image has no side below ``MINIMUM_SIDE``; raise ``kind`` if it has."""
    if min(width, height) < MINIMUM_SIDE:
        least = f"{MINIMUM_SIDE}x{MINIMUM_SIDE} pixels"
        raise kind(f"{name}: expected an image of at least {least}, found {width}x{height}")


def read_rgb(path: Path, enough: int | None = None) -> Image.Image:
    """Decode an image file to upright 8-bit RGB.

    Grey becomes three equal channels, transparent pixels are composed on white, 16-bit values are
    scaled to 8, animations give their first frame.

    Args:
        path: The file.
        enough: If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (from fewer of the
            frequencies of its blocks) as long as both sides keep this many pixels. Much faster for
            large photographs; the pixels are nearly those of the whole image reduced.

    Raises:
        UnreadableImageError: See :func:`opened`.
    """
    with opened(path, enough) as image:
        return to_rgb(upright(image))


def upright(image: Image.Image) -> Image.Image:
    """Turn a loaded image as its EXIF orientation asks."""
    # Pillow's exif_transpose also writes the whole EXIF block anew, and fails where another entry
    # than the orientation is broken.
    turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to 8-bit RGB; see :func:`read_rgb`."""
    if has_grey_depth(image):  # 16-bit integers, or floats in [0, 1]; Pillow itself clips them.
        values = np.asarray(image)
        scaled = np.nan_to_num(values) * 255.0 if values.dtype.kind == "f" else values / 257.0
        grey = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        return on_white(image.convert("RGBA"))
    return image.convert("RGB")


def has_grey_depth(image: Image.Image) -> bool:
    """True for a grey image of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def on_white(layer: Image.Image) -> Image.Image:
    """Compose an RGBA image on white."""
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


def read_pixels(path: Path) -> Pixels:
    """The pixels ``(H, W, 3)`` of an image file; see :func:`read_rgb`."""
    return np.asarray(read_rgb(path))
