import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.edits.assets import assets_folder, fonts
from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.texts import meme_format, overlay_text
from activeindex.errors import InputError

from .images import BLUE, RED, array, plain

FONT = assets_folder() / "fonts" / "OpenSans-Regular.ttf"


def ink_box(image: Image.Image, height: int) -> tuple[int, int, int, int]:
    """Left, upper, right, lower edge of what is not white in the upper rows."""
    rows, columns = np.nonzero((array(image)[:height] < 255).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_white_band_of_250_pixels_stands_above_the_image(photograph: Image.Image) -> None:
    meme = meme_format(photograph)
    assert meme.size == (512, 762)
    assert meme.crop((0, 250, 512, 762)).tobytes() == photograph.tobytes()
    band = array(meme)[:250]
    assert (band == band[..., :1]).all()  # greys only
    assert band.min() == 0
    assert (band == 255).mean() > 0.5


def test_the_text_is_centred_and_as_large_as_the_margin_allows(photograph: Image.Image) -> None:
    left, upper, right, lower = ink_box(meme_format(photograph), 250)
    assert left >= 10
    assert upper >= 10
    assert right <= 502
    assert lower <= 240
    assert abs(left - (512 - right)) <= 2
    assert abs(upper - (250 - lower)) <= 2
    assert right - left >= 492 - 6 or lower - upper >= 230 - 3


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 900), st.sampled_from(["LOL", "gjp", "a long line", "Ä_"]))
def test_the_margin_stays_white_at_any_width(width: int, text: str) -> None:
    try:
        meme = meme_format(plain(RED, width, 3), text)
    except EditNotApplicableError:
        assert width < 60
        return
    left, upper, right, lower = ink_box(meme, 250)
    assert left >= 10
    assert upper >= 10
    assert right <= width - 10
    assert lower <= 240


def test_very_wide_images_get_a_band_too() -> None:
    meme = meme_format(plain(RED, 20_000, 2))
    assert meme.size == (20_000, 252)
    _, upper, _, lower = ink_box(meme, 250)
    assert lower - upper >= 227


def test_too_narrow_an_image_has_no_room_for_the_text() -> None:
    with pytest.raises(EditNotApplicableError, match="leaves no room for 'LOL'"):
        meme_format(plain(RED, 20, 100))


@pytest.mark.parametrize("text", ["", "  ", "two\nlines"])
def test_refuses_texts_without_ink_or_with_line_breaks(text: str) -> None:
    with pytest.raises(InputError, match="meme text"):
        meme_format(plain(RED, 200, 200), text)


def test_text_has_its_color_place_and_size() -> None:
    written = overlay_text(plain(RED, 200, 100), "HI", FONT, size=0.3, color=BLUE, x=0.5, y=0.4)
    rows, columns = np.nonzero((array(written) == BLUE).all(axis=2))
    assert 100 <= columns.min() < 108
    assert columns.max() < 140
    assert rows.min() >= 40
    # Capitals of this font are 0.71 of its size of 30 pixels.
    assert rows.max() - rows.min() + 1 == pytest.approx(0.71 * 30, abs=2)
    assert (array(written)[:40] == RED).all()


def test_text_beyond_the_border_is_cut(photograph: Image.Image) -> None:
    assert overlay_text(photograph, "W" * 50, FONT, size=1).size == photograph.size


def test_tiny_images_cannot_be_written_on() -> None:
    with pytest.raises(EditNotApplicableError, match="too small to write on"):
        overlay_text(plain(RED, 1, 500), "x", fonts()[0], size=0.3)
