"""A contact sheet: what activation did to each image, for the eye."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from activeindex.images.levels import Pixels

AMPLIFICATION = 10

_CELL = 320
"""Longest side of a shown image, in pixels."""
_GAP = 12
_CAPTION = 22
_BACKGROUND = (250, 250, 250)
_INK = (30, 30, 30)
_TITLES = ("original", "activated", f"difference x{AMPLIFICATION}")


@dataclass(frozen=True)
class Comparison:
    """One row of the sheet.

    Attributes:
        caption: Shown above the row.
        original: Pixels ``(H, W, 3)``.
        activated: Pixels of the same shape.
    """

    caption: str
    original: Pixels
    activated: Pixels


def amplified_difference(original: Pixels, activated: Pixels) -> Pixels:
    """The change of every pixel, ``AMPLIFICATION`` times, around middle grey."""
    change = activated.astype(np.int16) - original.astype(np.int16)
    shown: Pixels = np.clip(128 + AMPLIFICATION * change, 0, 255).astype(np.uint8)
    return shown


def contact_sheet(comparisons: Sequence[Comparison]) -> Image.Image:
    """Draws original, activated image and amplified difference side by side, a row per image."""
    font = ImageFont.load_default(size=14)
    rows = [_row(comparison) for comparison in comparisons]
    width = 3 * _CELL + 4 * _GAP
    height = _CAPTION + _GAP + sum(row[0].height + _CAPTION + _GAP for row in rows)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(_TITLES):
        draw.text((_GAP + column * (_CELL + _GAP), _GAP // 2), title, _INK, font)
    top = _CAPTION + _GAP
    for comparison, row in zip(comparisons, rows, strict=True):
        draw.text((_GAP, top), comparison.caption, _INK, font)
        for column, shown in enumerate(row):
            sheet.paste(shown, (_GAP + column * (_CELL + _GAP), top + _CAPTION))
        top += row[0].height + _CAPTION + _GAP
    return sheet


def _row(comparison: Comparison) -> list[Image.Image]:
    difference = amplified_difference(comparison.original, comparison.activated)
    shown = (comparison.original, comparison.activated, difference)
    images = [Image.fromarray(pixels) for pixels in shown]
    for image in images:
        image.thumbnail((_CELL, _CELL), Image.Resampling.BOX)
    return images
