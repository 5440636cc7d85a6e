import numpy as np
import pytest
from PIL import Image

from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.geometric import (
    center_crop,
    change_aspect_ratio,
    crop,
    hflip,
    pad_square,
    resize,
    vflip,
)
from activeindex.errors import InputError

from .images import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, array, image_of, pixels, plain


def test_flips() -> None:
    image = image_of([[RED, GREEN], [BLUE, WHITE]])
    assert pixels(hflip(image)) == [[GREEN, RED], [WHITE, BLUE]]
    assert pixels(vflip(image)) == [[BLUE, WHITE], [RED, GREEN]]


def test_center_crop_keeps_the_middle() -> None:
    image = image_of([[BLACK] * 4, [BLACK, RED, GREEN, BLACK], [BLACK] * 4, [BLACK] * 4])
    assert pixels(center_crop(image, 0.25)) == [[RED, GREEN], [BLACK, BLACK]]


@pytest.mark.parametrize(("area", "side"), [(1.0, 512), (0.5, 362), (0.25, 256), (0.1, 162)])
def test_sides_shrink_by_the_root_of_the_area(
    photograph: Image.Image, area: float, side: int
) -> None:
    assert center_crop(photograph, area).size == (side, side)
    assert resize(photograph, area).size == (side, side)


def test_resize_averages_what_it_merges() -> None:
    image = image_of([[BLACK, WHITE] * 8] * 16)
    assert abs(array(resize(image, 0.25)) - 127.5).max() < 40  # no black or white survives


def test_one_pixel_is_never_lost() -> None:
    assert center_crop(plain(RED, 1, 1), 0.1).size == (1, 1)
    assert resize(plain(RED, 1, 3), 0.1).size == (1, 1)


def test_crop_takes_fractions() -> None:
    image = image_of([[RED, GREEN, BLUE, WHITE]] * 2)
    assert pixels(crop(image, 0.25, 0, 0.5, 0.5)) == [[GREEN, BLUE]]
    assert pixels(crop(image, 0.9, 0.9, 0.5, 0.5)) == [[BLUE, WHITE]]


def test_crop_needs_a_pixel_to_keep() -> None:
    with pytest.raises(EditNotApplicableError, match="crop: an image of 1x9 pixels is too small"):
        crop(plain(RED, 1, 9), 0, 0, 0.4, 0.4)


def test_aspect_ratio_changes_and_area_stays(photograph: Image.Image) -> None:
    assert change_aspect_ratio(plain(RED, 20, 20), 4).size == (40, 10)
    wide = change_aspect_ratio(photograph, 2)
    assert wide.width / wide.height == pytest.approx(2, rel=0.01)
    assert wide.width * wide.height == pytest.approx(512 * 512, rel=0.01)


def test_padding_centres_the_image_in_its_color() -> None:
    image = image_of([[RED, GREEN, BLUE]])
    assert pixels(pad_square(image, YELLOW)) == [[YELLOW] * 3, [RED, GREEN, BLUE], [YELLOW] * 3]


def test_a_long_strip_is_not_padded_to_gigabytes() -> None:
    with pytest.raises(EditNotApplicableError, match="100000x100000"):
        pad_square(plain(RED, 100_000, 1))


@pytest.mark.parametrize("area", [0, -0.5, 1.5, float("nan")])
def test_refuses_impossible_areas(area: float) -> None:
    with pytest.raises(InputError, match="center_crop area"):
        center_crop(plain(RED), area)
    with pytest.raises(InputError, match="resize area"):
        resize(plain(RED), area)


def test_edits_leave_their_argument_alone(photograph: Image.Image) -> None:
    before = np.asarray(photograph).copy()
    for edited in (hflip(photograph), center_crop(photograph, 1), resize(photograph, 1)):
        edited.paste(BLACK, (0, 0, *edited.size))
    np.testing.assert_array_equal(before, np.asarray(photograph))
