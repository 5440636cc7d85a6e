"""Views on the training device."""

from dataclasses import replace

import pytest
import torch

from activeindex.images.levels import Pixels, resize_square, to_tensor
from training.augment import augment
from training.strength import STRONG, WEAK, Strength

STILL = replace(WEAK, area=1.0, aspect=1.0, jitter=0.0, blurred=0.0)


@pytest.fixture(scope="module")
def pixels(photographs: dict[str, Pixels]) -> torch.Tensor:
    """``(7, 3, 96, 96)`` 8-bit."""
    images = torch.stack([resize_square(to_tensor(p), 96) for p in photographs.values()])
    return (images * 255).round().to(torch.uint8)


def seen(pixels: torch.Tensor, strength: Strength, seed: int = 0, size: int = 96) -> torch.Tensor:
    return augment(pixels, size, strength, torch.Generator().manual_seed(seed))


def test_without_changes_a_view_is_the_image(pixels: torch.Tensor) -> None:
    assert torch.allclose(seen(pixels, STILL), pixels / 255, atol=1e-3)


def test_views_are_images_of_the_size_asked_for(pixels: torch.Tensor) -> None:
    for strength in (WEAK, STRONG):
        views = seen(pixels, strength, size=64)
        assert views.shape == (7, 3, 64, 64)
        assert views.dtype == torch.float32
        assert views.min() >= 0
        assert views.max() <= 1


def test_the_generator_decides_all(pixels: torch.Tensor) -> None:
    assert torch.equal(seen(pixels, STRONG), seen(pixels, STRONG))
    assert not torch.equal(seen(pixels, STRONG), seen(pixels, STRONG, seed=1))


def test_strong_views_are_further_from_the_image_than_weak_ones(pixels: torch.Tensor) -> None:
    image = pixels / 255
    weak, strong = ((seen(pixels, s) - image).abs().mean() for s in (WEAK, STRONG))
    assert strong > weak


def test_grey_views_have_no_colours(pixels: torch.Tensor) -> None:
    views = seen(pixels, replace(STILL, grey=1.0))
    assert (views.amax(dim=1) - views.amin(dim=1)).max() < 0.02
    assert (views - views.flip(1)).abs().max() < 0.02


def test_mirrored_and_turned_views_undo(pixels: torch.Tensor) -> None:
    mirrored = seen(pixels, replace(STILL, flipped=1.0))
    assert torch.allclose(mirrored.flip(3), pixels / 255, atol=1e-3)
    turned = seen(pixels, replace(STILL, quartered=1.0))
    for view, image in zip(turned, pixels / 255, strict=True):
        undone = [view.rot90(turns, (1, 2)) for turns in (1, 2, 3)]
        assert min((one - image).abs().max() for one in undone) < 1e-3


def test_a_pasted_image_is_whole_within_another(pixels: torch.Tensor) -> None:
    black_and_white = torch.stack([torch.zeros(3, 96, 96), torch.full((3, 96, 96), 255)]).byte()
    views = seen(black_and_white, replace(STILL, pasted=1.0))
    shares = views.mean(dim=(1, 2, 3))
    # A share of 0.35² to 0.8² of each view is its own colour.
    assert 1 - 0.8**2 - 0.05 < shares[0] < 1 - 0.35**2 + 0.05
    assert 0.35**2 - 0.05 < shares[1] < 0.8**2 + 0.05
