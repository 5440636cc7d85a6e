"""Characters that a font can draw, and random texts of them."""

import functools
import importlib
import unicodedata
from pathlib import Path

import numpy as np
from PIL import ImageFont

from activeindex.errors import InputError, MissingExtraError, library_errors

_PROBE_SIZE = 16
"""Pixels; large enough for every drawn glyph to leave ink."""


def load_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Load a font with basic layout, so that texts do not depend on Pillow's optional Raqm.

    Args:
        path: A TrueType file.
        size: Pixels, 1 and up.

    Raises:
        InputError: The file is not a readable font.
    """
    with library_errors(f"{path}: expected a TrueType font"):
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def drawable_characters(path: Path) -> str:
    """List the characters for which a font has a visible glyph of its own.

    Letters, numbers, punctuation, symbols and private characters (icon fonts) that the font's
    character map names; without those that it maps to the box for missing characters or to a blank.

    Args:
        path: A TrueType file.

    Raises:
        MissingExtraError: ``fonttools`` is not installed.
        InputError: The font is unreadable or draws nothing.
    """
    try:
        # Imported by name and late: the package is optional, untyped, and only texts need it.
        font_tools = importlib.import_module("fontTools.ttLib")
    except ModuleNotFoundError as error:
        if error.name != "fontTools":
            raise
        raise MissingExtraError("fonttools", "edits", "overlay_text") from error
    font = load_font(path, _PROBE_SIZE)
    with font_tools.TTFont(path, lazy=True) as tables:
        # fontTools leaves out characters mapped to glyph 0, the box for missing ones.
        mapped = sorted(tables.getBestCmap() or {})
    characters = "".join(
        chr(code) for code in mapped if _is_printable(chr(code)) and _has_ink(font, chr(code))
    )
    if not characters:
        raise InputError(f"{path}: expected a font with visible characters, found none")
    return characters


def random_text(path: Path, length: int, generator: np.random.Generator) -> str:
    """Draw characters of a font, uniformly and independently.

    Args:
        path: A TrueType file.
        length: Number of characters, 1 and up.
        generator: Draws them.

    Raises:
        MissingExtraError: ``fonttools`` is not installed.
        InputError: The font is unreadable or draws nothing.
    """
    characters = drawable_characters(path)
    return "".join(characters[i] for i in generator.integers(len(characters), size=length))


def _is_printable(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNPS" or category == "Co"


def _has_ink(font: ImageFont.FreeTypeFont, character: str) -> bool:
    return font.getmask(character).getbbox() is not None
