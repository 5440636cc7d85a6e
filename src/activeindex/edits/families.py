"""Families of edits that a random composition draws from, with their random parameters.

The families, their edits and the distributions of the parameters are those of the evaluation of
Active Image Indexing (Fernandez et al., ICLR 2023, arXiv:2210.10620), which follows the edits of
the Image Similarity Challenge DISC21 (Douze et al., 2021, arXiv:2106.09672). U is uniform; whole
numbers include both ends.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image

from activeindex.edits.assets import emojis, fonts, screenshot_templates
from activeindex.edits.blurs import blur
from activeindex.edits.checks import Color
from activeindex.edits.geometric import change_aspect_ratio, crop, hflip, pad_square
from activeindex.edits.glyphs import random_text
from activeindex.edits.overlays import overlay_emoji, overlay_onto_screenshot
from activeindex.edits.photometric import adjust_brightness, adjust_saturation, grayscale
from activeindex.edits.pixels import (
    convert_color,
    enhance_edges,
    jpeg,
    pixelization,
    shuffle_pixels,
)
from activeindex.edits.texts import overlay_text
from activeindex.edits.warps import perspective_transform, rotate_and_crop

RandomEdit: TypeAlias = Callable[[Image.Image, np.random.Generator], Image.Image]
"""Draws its parameters from the generator and applies the edit."""

_Item = TypeVar("_Item")


def _one_of(items: tuple[_Item, ...], generator: np.random.Generator) -> _Item:
    return items[int(generator.integers(len(items)))]


def _any_color(generator: np.random.Generator) -> Color:
    red, green, blue = generator.integers(256, size=3).tolist()
    return red, green, blue


def _overlay_emoji(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return overlay_emoji(
        image,
        _one_of(emojis(), generator),
        x=generator.uniform(0, 0.8),
        y=generator.uniform(0, 0.8),
        opacity=generator.uniform(0.5, 1),
        height=generator.uniform(0.4, 0.8),
    )


def _overlay_text(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    font = _one_of(fonts(), generator)
    return overlay_text(
        image,
        random_text(font, int(generator.integers(5, 16)), generator),
        font,
        size=generator.uniform(0.1, 0.3),
        color=_any_color(generator),
        x=generator.uniform(0, 0.6),
        y=generator.uniform(0, 0.6),
    )


def _crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    width, height = generator.uniform(0.3, 0.6, size=2).tolist()
    left, top = generator.uniform(0, 1 - width), generator.uniform(0, 1 - height)
    return crop(image, left, top, width, height)


def _overlay_onto_screenshot(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    template = _one_of(screenshot_templates(), generator)
    return overlay_onto_screenshot(image, template, crop_to_fit=True)


def _perspective_transform(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    sigma = generator.uniform(30, 60)
    return perspective_transform(image, generator.normal(0, sigma, size=(4, 2)))


FAMILIES: Mapping[str, Mapping[str, RandomEdit]] = MappingProxyType(
    {
        "color": {
            "brightness": lambda image, draw: adjust_brightness(image, draw.uniform(0.1, 1.9)),
            "grayscale": lambda image, draw: grayscale(image),
            "saturation": lambda image, draw: adjust_saturation(image, draw.uniform(2, 5)),
        },
        "overlay": {
            "overlay_emoji": _overlay_emoji,
            "overlay_text": _overlay_text,
        },
        "pixel-level": {
            "blur": lambda image, draw: blur(image, draw.uniform(5, 10)),
            "convert_color": lambda image, draw: convert_color(image, int(draw.integers(2, 17))),
            "encoding_quality": lambda image, draw: jpeg(image, int(draw.integers(5, 26))),
            "apply_pil_filter": lambda image, draw: enhance_edges(image),
            "pixelization": lambda image, draw: pixelization(image, draw.uniform(0.2, 0.5)),
            "shuffle_pixels": lambda image, draw: shuffle_pixels(
                image, draw.uniform(0.1, 0.3), draw
            ),
        },
        "spatial": {
            "crop": _crop,
            "hflip": lambda image, draw: hflip(image),
            "change_aspect_ratio": lambda image, draw: change_aspect_ratio(
                image, draw.uniform(0.5, 2)
            ),
            "overlay_onto_screenshot": _overlay_onto_screenshot,
            "pad_square": lambda image, draw: pad_square(image, _any_color(draw)),
            "perspective_transform": _perspective_transform,
            "rotate": lambda image, draw: rotate_and_crop(image, draw.uniform(-90, 90)),
        },
    }
)
"""Family → edit → function that draws the parameters and applies the edit."""
