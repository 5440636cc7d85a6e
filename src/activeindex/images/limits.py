"""Limits of pictures: their smallest side, and the most pixels that are decoded."""

from activeindex.errors import InputError, UnreadableImageError
from activeindex.runtime.fields import checked

MINIMUM_SIDE = 11
"""Smallest side of an image in pixels: SSIM's 11-pixel window and the edits need that much."""

DEFAULT_MAX_PIXELS = 64_000_000
"""Most pixels of an image unless :func:`set_max_pixels` says otherwise: an 8000x8000 picture."""

LARGEST_MAX_PIXELS = 178_956_970
"""Largest limit: Pillow takes more pixels for a decompression bomb."""

_max_pixels = DEFAULT_MAX_PIXELS


def max_pixels() -> int:
    """Return the most pixels that an image may have."""
    return _max_pixels


def set_max_pixels(pixels: int) -> None:
    """Set the most pixels that an image may have, for this process and the work it hands out.

    An image with more is refused after its header is read, before its pixels are decoded.

    Args:
        pixels: Width times height, 1 to ``LARGEST_MAX_PIXELS``; ``DEFAULT_MAX_PIXELS`` at first.

    Raises:
        InputError: If it is something else.

    Example:
        >>> set_max_pixels(100_000_000)
        >>> max_pixels()
        100000000
        >>> set_max_pixels(DEFAULT_MAX_PIXELS)
    """
    global _max_pixels
    rules = {"minimum": 1, "maximum": LARGEST_MAX_PIXELS}
    _max_pixels = checked(pixels, "max_pixels", int, rules)


def check_size(
    name: object,
    width: int,
    height: int,
    kind: type[InputError] = UnreadableImageError,
    most: int | None = None,
) -> None:
    """Check that an image is neither too small nor too large.

    Args:
        name: Names the image in the message.
        width: In pixels.
        height: In pixels.
        kind: The error to raise.
        most: The most pixels; those of :func:`max_pixels` by default.

    Raises:
        InputError: Of ``kind``, if a side is below ``MINIMUM_SIDE`` or the pixels are too many.
    """
    if min(width, height) < MINIMUM_SIDE:
        least = f"{MINIMUM_SIDE}x{MINIMUM_SIDE} pixels"
        raise kind(f"{name}: expected an image of at least {least}, found {width}x{height}")
    most = _max_pixels if most is None else most
    if width * height > most:
        raise kind(
            f"{name}: expected an image of at most {most:,} pixels, found {width}x{height} "
            f"({width * height:,}); raise the limit with --max_pixels or set_max_pixels"
        )
