import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.edits.blurs import blur, gaussian_blur, gaussian_kernel
from activeindex.errors import InputError

from .images import array, noise, plain, random_images


def test_kernel_of_eleven_has_a_deviation_of_two() -> None:
    kernel = gaussian_kernel(11).astype(float)
    assert kernel.sum() == pytest.approx(1)
    # Neighbouring weights of a Gaussian: w(1) / w(0) = exp(-1 / (2 * 2 * 2)).
    assert kernel[6] / kernel[5] == pytest.approx(np.exp(-1 / 8), rel=1e-5)
    assert kernel[10] / kernel[5] == pytest.approx(np.exp(-25 / 8), rel=1e-5)


def test_a_point_spreads_to_the_outer_product_of_the_kernel() -> None:
    point = np.zeros((31, 31, 3), dtype=np.uint8)
    point[15, 15] = 255
    kernel = gaussian_kernel(11)
    expected = np.rint(255 * np.outer(kernel, kernel))
    blurred = array(gaussian_blur(Image.fromarray(point), 11))
    np.testing.assert_allclose(blurred[10:21, 10:21, 1], expected, atol=1)
    assert blurred[:9].max() == 0


def test_borders_are_mirrored() -> None:
    row = np.array([[[200] * 3, [100] * 3, [0] * 3]], dtype=np.uint8)
    side, centre, _ = gaussian_kernel(3)
    blurred = array(gaussian_blur(Image.fromarray(row), 3))[0, :, 0]
    # Left of 200 stands, mirrored, the 100 to its right.
    assert blurred[0] == round(float(200 * centre + 2 * 100 * side))
    assert blurred[1] == 100


def test_kernel_of_one_changes_nothing(photograph: Image.Image) -> None:
    assert gaussian_blur(photograph, 1).tobytes() == photograph.tobytes()


@settings(max_examples=25, deadline=None)
@given(random_images(24), st.integers(0, 14))
def test_any_size_can_be_blurred_and_stays_between_its_extremes(
    image: Image.Image, half: int
) -> None:
    blurred = gaussian_blur(image, 2 * half + 1)
    assert blurred.size == image.size
    assert array(image).min() <= array(blurred).min()
    assert array(blurred).max() <= array(image).max()


def test_flat_images_stay_flat() -> None:
    image = plain((17, 99, 203), 20, 3)
    assert gaussian_blur(image, 29).tobytes() == image.tobytes()
    assert blur(image, 7.5).tobytes() == image.tobytes()


def test_a_larger_radius_blurs_more() -> None:
    image = noise(64, 64)
    assert array(image).std() > array(blur(image, 1)).std() > array(blur(image, 5)).std()


def test_refuses_even_kernels_and_negative_radii() -> None:
    with pytest.raises(InputError, match="expected an odd number, found 10"):
        gaussian_blur(plain((0, 0, 0)), 10)
    with pytest.raises(InputError, match="blur radius"):
        blur(plain((0, 0, 0)), -1)
