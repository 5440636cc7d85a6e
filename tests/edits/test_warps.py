import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.warps import perspective_transform, rotate, rotate_and_crop
from activeindex.errors import InputError, ShapeError

from .images import BLACK, BLUE, CYAN, GREEN, RED, WHITE, YELLOW, array, image_of, pixels, plain

STILL = np.zeros((4, 2))


def test_a_quarter_turn_is_counter_clockwise_and_exact() -> None:
    image = image_of([[RED, GREEN], [BLUE, WHITE], [CYAN, YELLOW]])
    turned = [[GREEN, WHITE, YELLOW], [RED, BLUE, CYAN]]
    assert pixels(rotate(image, 90)) == turned
    assert pixels(rotate_and_crop(image, 90)) == turned


def test_the_canvas_grows_and_its_corners_are_black(photograph: Image.Image) -> None:
    turned = rotate(photograph, 25)
    side = 512 * (math.cos(math.radians(25)) + math.sin(math.radians(25)))
    assert turned.width == pytest.approx(side, abs=2)
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    assert [tuple(np.asarray(turned)[corner]) for corner in corners] == [BLACK] * 4
    np.testing.assert_allclose(
        array(turned)[turned.height // 2, turned.width // 2], array(photograph)[256, 256], atol=25
    )


def test_a_long_strip_is_not_rotated_to_gigabytes() -> None:
    with pytest.raises(EditNotApplicableError, match="more than 100000000 pixels"):
        rotate(plain(RED, 100_000, 1), 45)


def test_the_inside_of_a_square_at_45_degrees_has_half_its_area() -> None:
    # The largest upright rectangle in a diamond of side 100: a square of side 100 / √2.
    assert rotate_and_crop(plain(RED, 100, 100), 45).size == (70, 70)


def test_rotating_inside_agrees_with_the_middle_of_the_rotation(
    wide_photograph: Image.Image,
) -> None:
    inside = rotate_and_crop(wide_photograph, 20)
    whole = rotate(wide_photograph, 20)
    x, y = (whole.width - inside.width) // 2, (whole.height - inside.height) // 2
    middle = whole.crop((x, y, x + inside.width, y + inside.height))
    assert np.abs(array(middle) - array(inside)).mean() < 3  # half a pixel apart at most


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.floats(-90, 90))
def test_rotating_inside_leaves_no_black(width: int, height: int, degrees: float) -> None:
    try:
        inside = rotate_and_crop(plain(WHITE, width, height), degrees)
    except EditNotApplicableError:
        assert min(width, height) < 2
    else:
        assert array(inside).min() == 255


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 60), st.integers(10, 60), st.integers(1, 89))
def test_no_larger_upright_rectangle_fits_the_rotation(
    width: int, height: int, degrees: int
) -> None:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Every rectangle a x b inside obeys a cos + b sin <= width and a sin + b cos <= height.
    sides = np.linspace(0.01, width + height, 2000)
    others = np.minimum((width - sides * cos) / sin, (height - sides * sin) / cos)
    largest = (sides * others).max()
    inside = rotate_and_crop(plain(WHITE, width, height), degrees)
    assert (inside.width + 1) * (inside.height + 1) >= largest


def test_unmoved_corners_change_nothing(photograph: Image.Image) -> None:
    assert perspective_transform(photograph, STILL).tobytes() == photograph.tobytes()


def test_a_shift_of_all_corners_is_a_translation(photograph: Image.Image) -> None:
    shifted = perspective_transform(photograph, STILL + np.array((30, -12)))
    assert shifted.tobytes() == photograph.tobytes()


def test_the_content_follows_the_corners() -> None:
    # The right corners move from 10 to 20: everything is twice as wide.
    image = image_of([[BLACK] * 5 + [WHITE] * 5] * 4)
    wide = perspective_transform(image, np.array([(0, 0), (10, 0), (10, 0), (0, 0)]) * 1.0)
    assert wide.size == (20, 4)
    assert pixels(wide)[0][:9] == [BLACK] * 9
    assert pixels(wide)[0][11:] == [WHITE] * 9


@settings(max_examples=60, deadline=None)
@given(st.integers(150, 300), st.integers(150, 300), st.integers(0, 10_000))
def test_perspective_leaves_no_black(width: int, height: int, seed: int) -> None:
    shifts = np.random.default_rng(seed).normal(0, 60, (4, 2))
    try:
        edited = perspective_transform(plain(WHITE, width, height), shifts)
    except EditNotApplicableError:
        return
    assert array(edited).min() == 255


def test_perspective_fails_on_tiny_images() -> None:
    shifts = np.array([(40, 40), (-40, 40), (-40, -40), (40, -40)]) * 1.0
    with pytest.raises(EditNotApplicableError, match="5x5 pixels is too small"):
        perspective_transform(plain(RED, 5, 5), shifts)


def test_refuses_wrong_arguments() -> None:
    with pytest.raises(InputError, match="rotation degrees"):
        rotate(plain(RED), 400)
    with pytest.raises(ShapeError, match=r"expected shape \(4, 2\), found \(8\)"):
        perspective_transform(plain(RED), np.zeros(8))
