"""Edits that change the colours of pixels and leave them in place."""

from PIL import Image, ImageEnhance, ImageOps

from activeindex.edits.checks import require_between, require_rgb

_HUE_TURN = 255
"""A full turn in Pillow's HSV: hues 0 and 255 are the same red."""


def adjust_brightness(image: Image.Image, factor: float) -> Image.Image:
    """Blend with black: every value times the factor, cut at 255.

    Args:
        image: RGB, any size.
        factor: 0 (black) and up; 1 leaves the image alone.

    Raises:
        InputError: The image is not RGB, or the factor is negative.
    """
    require_rgb(image)
    require_between("brightness factor", factor, 0)
    return ImageEnhance.Brightness(image).enhance(factor)


def adjust_contrast(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the mean grey of the image.

    Args:
        image: RGB, any size.
        factor: 0 (that grey everywhere) and up; 1 leaves the image alone.

    Raises:
        InputError: The image is not RGB, or the factor is negative.
    """
    require_rgb(image)
    require_between("contrast factor", factor, 0)
    return ImageEnhance.Contrast(image).enhance(factor)


def adjust_saturation(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the greyscale version of the image.

    Args:
        image: RGB, any size.
        factor: 0 (greyscale) and up; 1 leaves the image alone.

    Raises:
        InputError: The image is not RGB, or the factor is negative.
    """
    require_rgb(image)
    require_between("saturation factor", factor, 0)
    return ImageEnhance.Color(image).enhance(factor)


def shift_hue(image: Image.Image, fraction: float) -> Image.Image:
    """Turn the hue of every pixel; saturation and value stay.

    Args:
        image: RGB, any size.
        fraction: Part of the full circle, -1 to 1; 0.5 turns red into cyan. Pillow counts 255
            steps to the circle, so the turn is exact to 0.7 degrees.

    Raises:
        InputError: The image is not RGB, or the fraction is outside.
    """
    require_rgb(image)
    require_between("hue fraction", fraction, -1, 1)
    steps = round(fraction * _HUE_TURN)
    if steps % _HUE_TURN == 0:
        return image.copy()  # the way to HSV and back would round
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(old + steps) % _HUE_TURN for old in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def grayscale(image: Image.Image) -> Image.Image:
    """Replace colours by their luma (ITU-R 601), as three equal channels.

    Raises:
        InputError: The image is not RGB.
    """
    require_rgb(image)
    return ImageOps.grayscale(image).convert("RGB")
