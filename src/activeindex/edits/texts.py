"""Edits that write on the image."""

from pathlib import Path

from PIL import Image, ImageDraw

from activeindex.edits.assets import MEME_FONT, assets_folder
from activeindex.edits.checks import (
    Color,
    EditNotApplicableError,
    require_affordable,
    require_between,
    require_integer,
    require_rgb,
    require_share,
)
from activeindex.edits.glyphs import load_font
from activeindex.errors import InputError

_LARGEST_FONT = 4096
"""Largest font size in pixels; a bound for texts whose ink hardly grows with the size."""


def meme_format(
    image: Image.Image,
    text: str = "LOL",
    band_height: int = 250,
    *,
    margin: int = 10,
    font: Path | None = None,
) -> Image.Image:
    """Put a white band with a text above the image.

    The text is black, centred, in one line, and as large as fits inside the margin.

    Args:
        image: RGB, any size.
        text: One line with visible characters.
        band_height: Pixels, 1 to 10000.
        margin: White pixels on each side of the text, 0 and up.
        font: A TrueType file; AugLy's font for memes if none is given.

    Raises:
        InputError: The image is not RGB, or another argument is not as described.
        MissingExtraError: No font is given and ``augly`` is not installed.
        EditNotApplicableError: The image is too narrow for the text, or the band too low.
    """
    require_rgb(image)
    require_integer("meme band height", band_height, 1, 10_000)
    require_integer("meme margin", margin, 0, 10_000)
    if not text.strip() or len(text.splitlines()) != 1:
        raise InputError(f"meme text: expected one line of characters, found {text!r}")
    require_affordable("meme_format", image, image.width, image.height + band_height)
    path = assets_folder() / "fonts" / MEME_FONT if font is None else font
    room = (image.width - 2 * margin, band_height - 2 * margin)
    ink = _largest_ink(path, text, room)
    if ink is None:
        raise EditNotApplicableError("meme_format", image, f"leaves no room for {text!r}")
    meme = Image.new("RGB", (image.width, image.height + band_height), "white")
    meme.paste(image, (0, band_height))
    place = ((image.width - ink.width) // 2, (band_height - ink.height) // 2)
    meme.paste("black", place, ink)
    return meme


def overlay_text(
    image: Image.Image,
    text: str,
    font: Path,
    *,
    size: float = 0.2,
    color: Color = (0, 0, 0),
    x: float = 0.0,
    y: float = 0.0,
) -> Image.Image:
    """Write a text over the image; what reaches beyond the border is cut off.

    Args:
        image: RGB, any size.
        text: The text to write.
        font: A TrueType file.
        size: Height of the font as a share of the image's short side, (0, 1].
        color: Of the text.
        x: Left end of the text as a fraction of the width, [0, 1].
        y: Upper end of the text as a fraction of the height, [0, 1].

    Raises:
        InputError: The image is not RGB, or another argument is not as described.
        EditNotApplicableError: The text would be less than one pixel high.
    """
    require_rgb(image)
    require_share("text size", size)
    require_between("text x", x, 0, 1)
    require_between("text y", y, 0, 1)
    pixels = round(size * min(image.size))
    if pixels < 1:
        raise EditNotApplicableError("overlay_text", image, "is too small to write on")
    written = image.copy()
    place = (round(x * image.width), round(y * image.height))
    ImageDraw.Draw(written).text(place, text, fill=color, font=load_font(font, pixels))
    return written


def _largest_ink(path: Path, text: str, room: tuple[int, int]) -> Image.Image | None:
    """Draw the text at the largest whole font size that fits.

    Returns:
        Mode L, 255 where there is ink, without borders; None if the text fits at no size.
    """

    def fits(size: int) -> bool:
        ink = _ink(path, text, size)
        return ink is None or (ink.width <= room[0] and ink.height <= room[1])

    fitting, too_large = 0, 1
    while too_large <= _LARGEST_FONT and fits(too_large):
        fitting, too_large = too_large, 2 * too_large
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        fitting, too_large = (middle, too_large) if fits(middle) else (fitting, middle)
    return _ink(path, text, fitting) if fitting else None


def _ink(path: Path, text: str, size: int) -> Image.Image | None:
    """Draw the text and cut it to its ink; None if it leaves none at this size.

    Pillow's text boxes reach to the advance of the last glyph, hence the drawing.
    """
    font = load_font(path, size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(canvas).text((1 - left, 1 - top), text, fill=255, font=font)
    box = canvas.getbbox()
    return None if box is None else canvas.crop(box)
