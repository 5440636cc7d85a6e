from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from activeindex.edits.assets import emojis, screenshot_template
from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.overlays import overlay_emoji, overlay_onto_screenshot
from activeindex.errors import InputError

from .images import BLACK, BLUE, GREEN, RED, array, image_of, plain, random_images


@pytest.mark.parametrize("name", ["mobile", "web"])
def test_the_screenshot_shows_the_image_in_its_box_and_nowhere_else(
    name: str, wide_photograph: Image.Image
) -> None:
    template = screenshot_template(name)
    left, upper, right, lower = template.box
    shot = overlay_onto_screenshot(wide_photograph, name, crop_to_fit=True)
    changed = (array(shot) != array(template.image())).any(axis=2)
    assert changed[upper:lower, left:right].mean() > 0.95
    changed[upper:lower, left:right] = False
    assert not changed.any()


def test_the_whole_image_is_shown_with_black_beside_it() -> None:
    # A square of 278 pixels fits in the box of 362x278; 42 columns stay on either side.
    shot = overlay_onto_screenshot(plain(RED, 50, 50))
    left, upper, right, lower = screenshot_template("mobile").box
    box = array(shot)[upper:lower, left:right]
    assert (box[:, :42] == BLACK).all()
    assert (box[:, 42:320] == RED).all()
    assert (box[:, 320:] == BLACK).all()


def test_cropping_fills_the_box_with_the_middle() -> None:
    image = image_of([[GREEN] * 100 + [RED] * 100 + [GREEN] * 100] * 80)
    shot = overlay_onto_screenshot(image, crop_to_fit=True)
    left, upper, right, lower = screenshot_template("mobile").box
    box = array(shot)[upper:lower, left:right]
    assert (box[:, 10:-10] == RED).all()


@settings(max_examples=25, deadline=None)
@given(random_images(300))
def test_any_image_can_be_shown(image: Image.Image) -> None:
    assert overlay_onto_screenshot(image).size == (414, 736)
    assert overlay_onto_screenshot(image, "web", crop_to_fit=True).size == (1200, 736)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_thin_images_stay_visible(size: tuple[int, int]) -> None:
    left, upper, right, lower = screenshot_template("mobile").box
    shot = overlay_onto_screenshot(plain(RED, *size))
    assert (array(shot)[upper:lower, left:right] == RED).all(axis=2).any()


def test_emoji_cover_their_place_only(photograph: Image.Image) -> None:
    edited = overlay_emoji(photograph, x=0.25, y=0.5, height=0.25)
    changed = (array(edited) != array(photograph)).any(axis=2)
    assert changed[256:384, 128:256].mean() > 0.5  # a face, round and transparent at its corners
    changed[256:384, 128:256] = False
    assert not changed.any()


def test_half_an_opacity_is_half_way(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (*BLUE, 255)).save(tmp_path / "blue.png")
    edited = overlay_emoji(
        plain(RED, 10, 10), tmp_path / "blue.png", x=0, y=0, opacity=0.5, height=1
    )
    np.testing.assert_allclose(array(edited)[4, 4], (127.5, 0, 127.5), atol=1)


def test_emoji_on_long_strips_cost_no_more_than_the_strip(tmp_path: Path) -> None:
    # Enlarged as a whole, the emoji would have 80000x80000 pixels.
    Image.new("RGBA", (8, 8), (*BLUE, 255)).save(tmp_path / "blue.png")
    strip = plain(RED, 1, 100_000)
    edited = array(overlay_emoji(strip, tmp_path / "blue.png", x=0, y=0.1, height=0.8))
    assert (edited[10_000:90_000] == BLUE).all()
    assert (edited[:10_000] == RED).all()
    assert (edited[90_000:] == RED).all()


def test_an_emoji_beyond_the_border_is_cut_not_squeezed(tmp_path: Path) -> None:
    emoji = image_of([[BLUE] * 4 + [GREEN] * 4] * 8)
    emoji.save(tmp_path / "halves.png")
    edited = overlay_emoji(plain(RED, 16, 16), tmp_path / "halves.png", x=0.75, y=0, height=0.5)
    assert (array(edited)[:8, 12:] == BLUE).all()


def test_every_emoji_can_be_overlaid() -> None:
    image = plain(RED, 30, 30)
    for emoji in emojis()[::20]:
        assert overlay_emoji(image, emoji, height=0.8).size == (30, 30)


def test_refuses_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="emoji opacity"):
        overlay_emoji(plain(RED), opacity=0)
    with pytest.raises(InputError, match=r"missing\.png: expected an image"):
        overlay_emoji(plain(RED), tmp_path / "missing.png")
    with pytest.raises(EditNotApplicableError, match="too low for an emoji"):
        overlay_emoji(plain(RED, 50, 2), height=0.15)
