import numpy as np
import pytest
from PIL import Image

from activeindex.edits.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    grayscale,
    shift_hue,
)
from activeindex.errors import InputError

from .images import BLACK, BLUE, CYAN, GREEN, RED, WHITE, YELLOW, array, image_of, pixels, plain


@pytest.mark.parametrize(("factor", "value"), [(0, 0), (0.5, 50), (1, 100), (2.0, 200), (3, 255)])
def test_brightness_multiplies_and_cuts_at_white(factor: float, value: int) -> None:
    assert pixels(adjust_brightness(plain((100, 100, 100), 1, 1), factor)) == [[(value,) * 3]]


def test_contrast_moves_values_away_from_the_mean_grey() -> None:
    grey, light = (60, 60, 60), (100, 100, 100)  # mean 80
    image = image_of([[grey, light]])
    assert pixels(adjust_contrast(image, 2.0)) == [[(40, 40, 40), (120, 120, 120)]]
    assert pixels(adjust_contrast(image, 0.5)) == [[(70, 70, 70), (90, 90, 90)]]
    assert pixels(adjust_contrast(image, 0)) == [[(80, 80, 80), (80, 80, 80)]]


def test_saturation_keeps_greys_and_strengthens_colors() -> None:
    assert pixels(adjust_saturation(plain((90, 90, 90), 1, 1), 5)) == [[(90, 90, 90)]]
    red, green, blue = pixels(adjust_saturation(plain((120, 100, 100), 1, 1), 3))[0][0]
    assert red == pytest.approx(106 + 3 * 14, abs=1)  # luma 106
    assert green == blue == pytest.approx(106 - 3 * 6, abs=1)


@pytest.mark.parametrize(
    ("fraction", "color"), [(0.5, CYAN), (-0.5, CYAN), (1 / 3, GREEN), (-1 / 3, BLUE), (1, RED)]
)
def test_hue_turns_red_around_the_circle(fraction: float, color: tuple[int, int, int]) -> None:
    shifted = shift_hue(plain(RED, 1, 1), fraction)
    assert np.abs(array(shifted) - color).max() <= 3  # half a step of Pillow's 255 hues


def test_hue_keeps_greys_and_the_brightest_channel(photograph: Image.Image) -> None:
    assert pixels(shift_hue(image_of([[BLACK, WHITE, (77, 77, 77)]]), 0.2)) == [
        [BLACK, WHITE, (77, 77, 77)]
    ]
    before, after = array(photograph).max(axis=2), array(shift_hue(photograph, 0.2)).max(axis=2)
    np.testing.assert_array_equal(before, after)


def test_no_shift_of_hue_changes_nothing(photograph: Image.Image) -> None:
    assert shift_hue(photograph, 0).tobytes() == photograph.tobytes()


def test_grayscale_is_luma_in_three_channels() -> None:
    grey = grayscale(image_of([[RED, GREEN, BLUE, YELLOW]]))
    assert grey.mode == "RGB"
    assert [pixel[0] for pixel in pixels(grey)[0]] == [76, 150, 29, 226]
    assert (array(grey) == array(grey)[..., :1]).all()


def test_refuses_negative_factors_and_wide_shifts() -> None:
    with pytest.raises(InputError, match=r"contrast factor: expected .* at least 0, found -1"):
        adjust_contrast(plain(RED), -1)
    with pytest.raises(InputError, match="brightness factor"):
        adjust_brightness(plain(RED), float("nan"))
    with pytest.raises(InputError, match=r"hue fraction: expected a number from -1 to 1"):
        shift_hue(plain(RED), 1.5)


def test_refuses_other_modes() -> None:
    with pytest.raises(InputError, match="expected mode RGB, found RGBA"):
        grayscale(Image.new("RGBA", (4, 4)))
