"""Edits that cut, scale, mirror or pad."""

import math

from PIL import Image, ImageOps

from activeindex.edits.checks import (
    Color,
    EditNotApplicableError,
    require_affordable,
    require_between,
    require_rgb,
    require_share,
)


def hflip(image: Image.Image) -> Image.Image:
    """Swap left and right.

    Raises:
        InputError: The image is not RGB.
    """
    require_rgb(image)
    return ImageOps.mirror(image)


def vflip(image: Image.Image) -> Image.Image:
    """Swap top and bottom.

    Raises:
        InputError: The image is not RGB.
    """
    require_rgb(image)
    return ImageOps.flip(image)


def center_crop(image: Image.Image, area: float) -> Image.Image:
    """Keep the middle of the image; each side is multiplied by √area.

    Args:
        image: RGB, any size.
        area: The share of the area that is kept, (0, 1]; never less than one pixel.

    Raises:
        InputError: The image is not RGB, or the area is outside.
    """
    require_rgb(image)
    require_share("center_crop area", area)
    width, height = scaled_size(image, math.sqrt(area))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def crop(image: Image.Image, left: float, top: float, width: float, height: float) -> Image.Image:
    """Keep a rectangle given in fractions of the image's width and height.

    Args:
        image: RGB, any size.
        left: Left edge, [0, 1].
        top: Upper edge, [0, 1].
        width: (0, 1]; what reaches beyond the right border is moved back inside.
        height: (0, 1]; likewise at the bottom.

    Raises:
        InputError: The image is not RGB, or a fraction is outside.
        EditNotApplicableError: Less than one pixel would be left.
    """
    require_rgb(image)
    require_between("crop left", left, 0, 1)
    require_between("crop top", top, 0, 1)
    require_share("crop width", width)
    require_share("crop height", height)
    columns, rows = round(image.width * width), round(image.height * height)
    if columns < 1 or rows < 1:
        raise EditNotApplicableError("crop", image, "is too small to crop")
    x = min(round(image.width * left), image.width - columns)
    y = min(round(image.height * top), image.height - rows)
    return image.crop((x, y, x + columns, y + rows))


def resize(image: Image.Image, area: float) -> Image.Image:
    """Shrink the image; each side is multiplied by √area (bilinear, with antialiasing).

    Args:
        image: RGB, any size.
        area: The share of the area that is kept, (0, 1]; never less than one pixel.

    Raises:
        InputError: The image is not RGB, or the area is outside.
    """
    require_rgb(image)
    require_share("resize area", area)
    return image.resize(scaled_size(image, math.sqrt(area)), Image.Resampling.BILINEAR)


def change_aspect_ratio(image: Image.Image, ratio: float) -> Image.Image:
    """Stretch to another width : height, keeping the area.

    Args:
        image: RGB, any size.
        ratio: Width divided by height of the result, 0.01 to 100.

    Raises:
        InputError: The image is not RGB, or the ratio is outside.
    """
    require_rgb(image)
    require_between("aspect ratio", ratio, 0.01, 100)
    width = math.sqrt(image.width * image.height * ratio)
    size = (max(1, round(width)), max(1, round(width / ratio)))
    return image.resize(size, Image.Resampling.BILINEAR)


def pad_square(image: Image.Image, color: Color = (0, 0, 0)) -> Image.Image:
    """Centre the image in the smallest square that holds it.

    Args:
        image: RGB, any size.
        color: Fills the rest.

    Raises:
        InputError: The image is not RGB.
        EditNotApplicableError: The square would have too many pixels.
    """
    require_rgb(image)
    side = max(image.size)
    require_affordable("pad_square", image, side, side)
    square = Image.new("RGB", (side, side), color)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def scaled_size(image: Image.Image, scale: float) -> tuple[int, int]:
    """Sides of an image times a factor, at least one pixel each."""
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))
