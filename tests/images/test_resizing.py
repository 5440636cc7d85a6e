import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.errors import InputError
from activeindex.images.levels import Pixels, resize_square, to_square, to_tensor

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.mark.parametrize("size", [32, 97, 288, 600])
def test_resizing_commutes_with_normalisation(photographs: dict[str, Pixels], size: int) -> None:
    image = to_tensor(photographs["chelsea"])
    before = resize_square((image - MEAN) / STD, size)
    after = (resize_square(image, size) - MEAN) / STD
    assert torch.allclose(before, after, atol=2e-5)


def test_the_aspect_ratio_is_not_kept() -> None:
    image = torch.zeros(3, 20, 80)
    image[:, :, 40:] = 1.0
    small = resize_square(image, 20)
    assert small.shape == (3, 20, 20)
    assert small[0, 0, [0, 7, 12, 19]].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_fine_stripes_average_out() -> None:
    stripes = torch.zeros(3, 96, 96)
    stripes[:, :, ::2] = 1.0
    inner = resize_square(stripes, 12)[:, :, 2:-2]
    assert torch.allclose(inner, torch.full_like(inner, 0.5), atol=0.03)


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = torch.rand(3, 32, 32)
    assert torch.equal(resize_square(image, 32), image)


def test_a_batch_is_resized_like_its_images() -> None:
    images = torch.rand(2, 3, 40, 50)
    batch = resize_square(images, 32)
    assert batch.shape == (2, 3, 32, 32)
    for one, whole in zip(images, batch, strict=True):
        assert torch.allclose(resize_square(one, 32), whole)


def test_the_gradient_reaches_every_pixel() -> None:
    image = torch.rand(3, 50, 40, requires_grad=True)
    resize_square(image, 32).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert (image.grad > 0).all()


@given(
    width=st.integers(11, 400),
    height=st.integers(11, 2500),
    size=st.integers(1, 300),
    seed=st.integers(0, 9),
)
@example(width=2000, height=1500, size=288, seed=0)
@example(width=300_000, height=11, size=32, seed=0)
@settings(max_examples=30)
def test_strip_by_strip_an_image_becomes_the_same_square(
    width: int, height: int, size: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert torch.equal(to_square(image, size), resize_square(to_tensor(image), size))


def test_grey_is_no_square_of_three_channels() -> None:
    with pytest.raises(InputError, match=r"^image: expected 8-bit RGB \(H, W, 3\), found"):
        to_square(Image.new("L", (40, 40)), 32)
