"""Edits that degrade pixels in place: compression, palettes, filters, noise."""

import io

import numpy as np
from PIL import Image, ImageFilter

from activeindex.edits.checks import (
    EditNotApplicableError,
    require_integer,
    require_rgb,
    require_share,
)
from activeindex.edits.geometric import scaled_size

_LONGEST_JPEG_SIDE = 65_500
"""The limit of libjpeg."""


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG and decode again.

    Args:
        image: RGB, any size.
        quality: 1 (worst) to 100 on libjpeg's scale.

    Raises:
        InputError: The image is not RGB, or the quality is outside.
        EditNotApplicableError: A side is longer than the format allows.
    """
    require_rgb(image)
    require_integer("jpeg quality", quality, 1, 100)
    if max(image.size) > _LONGEST_JPEG_SIDE:
        raise EditNotApplicableError("jpeg", image, f"exceeds {_LONGEST_JPEG_SIDE} on a side")
    buffer = io.BytesIO()
    # An empty comment: Pillow would copy the one that the original file had.
    image.save(buffer, "JPEG", quality=quality, comment=b"")
    with Image.open(buffer) as decoded:
        return decoded.convert("RGB")


def convert_color(image: Image.Image, colors: int) -> Image.Image:
    """Reduce to a palette adapted to the image.

    Args:
        image: RGB, any size.
        colors: Size of the palette, 2 to 256.

    Raises:
        InputError: The image is not RGB, or the number is outside.
    """
    require_rgb(image)
    require_integer("palette colors", colors, 2, 256)
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colors).convert("RGB")


def enhance_edges(image: Image.Image) -> Image.Image:
    """Apply the strongest edge enhancement that Pillow has.

    Raises:
        InputError: The image is not RGB.
    """
    require_rgb(image)
    return image.filter(ImageFilter.EDGE_ENHANCE_MORE)


def pixelization(image: Image.Image, ratio: float) -> Image.Image:
    """Shrink the image and enlarge it to its old size in blocks.

    Args:
        image: RGB, any size.
        ratio: The share of each side that the shrunk image keeps, (0, 1].

    Raises:
        InputError: The image is not RGB, or the ratio is outside.
    """
    require_rgb(image)
    require_share("pixelization ratio", ratio)
    shrunk = image.resize(scaled_size(image, ratio), Image.Resampling.BILINEAR)
    return shrunk.resize(image.size, Image.Resampling.NEAREST)


def shuffle_pixels(image: Image.Image, share: float, generator: np.random.Generator) -> Image.Image:
    """Permute some of the pixels among themselves.

    Args:
        image: RGB, any size.
        share: The share of the pixels that is permuted, (0, 1].
        generator: Draws the pixels and their permutation.

    Raises:
        InputError: The image is not RGB, or the share is outside.
        EditNotApplicableError: The share comes to fewer than two pixels.
    """
    require_rgb(image)
    require_share("shuffled share", share)
    pixels = np.array(image).reshape(-1, 3)
    count = round(share * len(pixels))
    if count < 2:
        raise EditNotApplicableError("shuffle_pixels", image, "has too few to permute")
    places = generator.choice(len(pixels), count, replace=False, shuffle=False)
    pixels[places] = pixels[generator.permutation(places)]
    return Image.fromarray(pixels.reshape(image.height, image.width, 3))
