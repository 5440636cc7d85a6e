"""Contact sheet: originals, activated images and their differences in one picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from activeindex.images.levels import Pixels

AMPLIFICATION = 10

_CELL = 320
"""Longest side of an image on the sheet, in pixels."""
_GAP = 12
_CAPTION = 22
_BACKGROUND = (250, 250, 250)
_INK = (30, 30, 30)
_TITLES = ("original", "activated", f"difference x{AMPLIFICATION}")


SheetRow = tuple[str, Pixels, Pixels]
"""Caption, and pixels ``(H, W, 3)`` of the original and of the activated image."""


def amplified_difference(original: Pixels, activated: Pixels) -> Pixels:
    """The change of every pixel, amplified ``AMPLIFICATION`` times around middle grey."""
    change = activated.astype(np.int16) - original.astype(np.int16)
    shown: Pixels = np.clip(128 + AMPLIFICATION * change, 0, 255).astype(np.uint8)
    return shown


def contact_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draw original, activated image and amplified difference side by side, a row per image."""
    font = ImageFont.load_default(size=14)
    drawn = [_images(original, activated) for _, original, activated in rows]
    width = 3 * _CELL + 4 * _GAP
    height = _CAPTION + _GAP + sum(images[0].height + _CAPTION + _GAP for images in drawn)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(_TITLES):
        draw.text((_GAP + column * (_CELL + _GAP), _GAP // 2), title, _INK, font)
    top = _CAPTION + _GAP
    for (caption, *_), images in zip(rows, drawn, strict=True):
        draw.text((_GAP, top), caption, _INK, font)
        for column, image in enumerate(images):
            sheet.paste(image, (_GAP + column * (_CELL + _GAP), top + _CAPTION))
        top += images[0].height + _CAPTION + _GAP
    return sheet


def _images(original: Pixels, activated: Pixels) -> list[Image.Image]:
    difference = amplified_difference(original, activated)
    images = [Image.fromarray(pixels) for pixels in (original, activated, difference)]
    for image in images:
        image.thumbnail((_CELL, _CELL), Image.Resampling.BOX)
    return images
