from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.edits import families
from activeindex.edits.assets import screenshot_template
from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.edited import edit_generator
from activeindex.edits.families import FAMILIES
from activeindex.edits.pixels import shuffle_pixels

from .images import RED, WHITE, array, noise, plain, random_images

NAMES = [(family, edit) for family, edits in FAMILIES.items() for edit in edits]


def test_families_are_those_of_the_paper() -> None:
    assert {family: len(edits) for family, edits in FAMILIES.items()} == {
        "color": 3,
        "overlay": 2,
        "pixel-level": 6,
        "spatial": 7,
    }


@pytest.mark.parametrize(("family", "edit"), NAMES)
def test_each_edit_changes_a_photograph_and_repeats(
    family: str, edit: str, wide_photograph: Image.Image
) -> None:
    first = FAMILIES[family][edit](wide_photograph, edit_generator(0, 7))
    again = FAMILIES[family][edit](wide_photograph, edit_generator(0, 7))
    assert first.mode == "RGB"
    assert (first.size, first.tobytes()) != (
        wide_photograph.size,
        wide_photograph.tobytes(),
    )
    assert (first.size, first.tobytes()) == (again.size, again.tobytes())


@pytest.mark.parametrize(("family", "edit"), NAMES)
@settings(max_examples=8, deadline=None)
@given(image=random_images(40), seed=st.integers(0, 2**32))
def test_each_edit_gives_an_rgb_image_or_says_that_it_cannot(
    family: str, edit: str, image: Image.Image, seed: int
) -> None:
    before = image.tobytes()
    try:
        edited = FAMILIES[family][edit](image, edit_generator(seed, 0))
    except EditNotApplicableError:
        assert min(image.size) < 40
    else:
        assert edited.mode == "RGB"
        assert min(edited.size) >= 1
    assert image.tobytes() == before


def draws(family: str, edit: str, image: Image.Image, count: int = 200) -> list[Image.Image]:
    return [FAMILIES[family][edit](image, edit_generator(1, number)) for number in range(count)]


def test_brightness_factors_fill_their_range() -> None:
    values = [
        array(edited).mean() / 100 for edited in draws("color", "brightness", plain((100,) * 3))
    ]
    assert 0.1 - 0.01 <= min(values) < 0.2
    assert 1.8 < max(values) <= 1.9 + 0.01


def test_crops_keep_30_to_60_percent_of_each_side() -> None:
    sizes = np.array([edited.size for edited in draws("spatial", "crop", plain(WHITE, 1000, 500))])
    shares = sizes / (1000, 500)
    assert (shares.min(axis=0) >= 0.299).all()
    assert (shares.min(axis=0) < 0.32).all()
    assert (shares.max(axis=0) > 0.58).all()
    assert (shares.max(axis=0) <= 0.601).all()


def test_aspect_ratios_lie_between_a_half_and_two() -> None:
    sizes = [
        edited.size for edited in draws("spatial", "change_aspect_ratio", plain(WHITE, 200, 100))
    ]
    ratios = [width / height for width, height in sizes]
    assert 0.49 <= min(ratios) < 0.55
    assert 1.9 < max(ratios) <= 2.02


def test_palettes_have_2_to_16_colors() -> None:
    edited = draws("pixel-level", "convert_color", noise(30, 30), 100)
    counts = {len(np.unique(array(image).reshape(-1, 3), axis=0)) for image in edited}
    assert min(counts) == 2
    assert max(counts) == 16


def test_both_screenshot_templates_are_drawn() -> None:
    edited = draws("spatial", "overlay_onto_screenshot", plain(WHITE), 30)
    assert {image.size for image in edited} == {(414, 736), (1200, 736)}


def test_shuffled_shares_lie_between_10_and_30_percent() -> None:
    image = noise(60, 60)
    shares = [
        (array(edited) != array(image)).any(axis=2).mean()
        for edited in draws("pixel-level", "shuffle_pixels", image, 100)
    ]
    assert 0.09 < min(shares) < 0.13
    assert 0.27 < max(shares) <= 0.3
    assert shuffle_pixels(image, 1, edit_generator(0, 0)).size == image.size


@pytest.mark.parametrize(
    ("family", "edit", "function", "argument", "low", "high"),
    [
        ("color", "brightness", "adjust_brightness", 1, 0.1, 1.9),
        ("color", "saturation", "adjust_saturation", 1, 2, 5),
        ("overlay", "overlay_emoji", "overlay_emoji", "x", 0, 0.8),
        ("overlay", "overlay_emoji", "overlay_emoji", "y", 0, 0.8),
        ("overlay", "overlay_emoji", "overlay_emoji", "opacity", 0.5, 1),
        ("overlay", "overlay_emoji", "overlay_emoji", "height", 0.4, 0.8),
        ("overlay", "overlay_text", "random_text", 1, 5, 15),
        ("overlay", "overlay_text", "overlay_text", "size", 0.1, 0.3),
        ("overlay", "overlay_text", "overlay_text", "x", 0, 0.6),
        ("overlay", "overlay_text", "overlay_text", "y", 0, 0.6),
        ("pixel-level", "blur", "blur", 1, 5, 10),
        ("pixel-level", "convert_color", "convert_color", 1, 2, 16),
        ("pixel-level", "encoding_quality", "jpeg", 1, 5, 25),
        ("pixel-level", "pixelization", "pixelization", 1, 0.2, 0.5),
        ("pixel-level", "shuffle_pixels", "shuffle_pixels", 1, 0.1, 0.3),
        ("spatial", "change_aspect_ratio", "change_aspect_ratio", 1, 0.5, 2),
        ("spatial", "rotate", "rotate_and_crop", 1, -90, 90),
    ],
)
def test_parameters_are_uniform_over_their_range(
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    edit: str,
    function: str,
    argument: int | str,
    low: float,
    high: float,
) -> None:
    seen: list[float] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        seen.append(args[argument] if isinstance(argument, int) else kwargs[argument])
        return "text" if function == "random_text" else args[0]

    monkeypatch.setattr(families, function, record)
    if function == "overlay_text":
        monkeypatch.setattr(families, "random_text", lambda *_: "text")
    draws(family, edit, plain(WHITE), 300)
    slack = 0.03 * (high - low)
    assert low <= min(seen) <= low + slack
    assert high - slack <= max(seen) <= high
    assert np.mean(seen) == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_corners_move_by_normal_shifts_of_30_to_60_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(families, "perspective_transform", lambda _, shifts: seen.append(shifts))
    draws("spatial", "perspective_transform", plain(WHITE), 1000)
    shifts = np.array(seen)
    assert shifts.shape == (1000, 4, 2)
    # The variance of the mixture: the mean of s² for s uniform over 30 to 60, which is 2100.
    assert shifts.std() == pytest.approx(np.sqrt(2100), rel=0.03)
    assert np.abs(shifts.mean(axis=0)).max() < 6


def test_screenshots_are_filled() -> None:
    for shot in draws("spatial", "overlay_onto_screenshot", plain(RED, 50, 200), 10):
        name = "mobile" if shot.width == 414 else "web"
        assert (array(shot.crop(screenshot_template(name).box)) == RED).all()
