"""The picture of one copy: original, activated, difference, edited copy."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.tables import edit_label
from activeindex.images.decoding import read_rgb
from activeindex.report.gallery import AMPLIFICATION, amplified_difference

_WIDTH = 300
_GAP = 8
_CAPTION = 46


def draw_copy(original: Path, activated: Path, copy: Path, edit: EditKey, note: str) -> Image.Image:
    """Draw a photograph, its activated version, their difference, and a copy that is found.

    Args:
        original: The photograph.
        activated: The same photograph as it was released.
        copy: An edited copy of the released photograph, which was found.
        edit: The edit that made the copy.
        note: A line below the copy.
    """
    before, after = read_rgb(original), read_rgb(activated)
    difference = amplified_difference(np.asarray(before), np.asarray(after))
    panels = (
        (before, "original", ""),
        (after, "activated", "to be published"),
        (Image.fromarray(difference), f"difference, {AMPLIFICATION} times", ""),
        (read_rgb(copy), f"copy: {edit_label(edit).replace('_', ' ')}", note),
    )
    heights = [round(_WIDTH * image.height / image.width) for image, _, _ in panels]
    width = len(panels) * (_WIDTH + _GAP) - _GAP
    sheet = Image.new("RGB", (width, max(heights) + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for place, ((image, title, note), height) in enumerate(zip(panels, heights, strict=True)):
        left = place * (_WIDTH + _GAP)
        resized = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
        sheet.paste(resized, (left, max(heights) - height))
        draw.text((left, max(heights) + 4), title, "black", ImageFont.load_default(16))
        draw.text((left, max(heights) + 24), note, "dimgrey", ImageFont.load_default(14))
    return sheet
