"""Differentiable edits of square images."""

import pytest
import torch

from activeindex.edits.differentiable import edited_views
from activeindex.images.levels import resize_square


def view(image: torch.Tensor, seed: int) -> torch.Tensor:
    return edited_views(image, [torch.Generator().manual_seed(seed)])


@pytest.fixture(scope="module")
def square(images: list[torch.Tensor]) -> torch.Tensor:
    return resize_square(images[0], 64).unsqueeze(0)


def test_a_view_depends_on_its_seed_alone(square: torch.Tensor) -> None:
    first, again = view(square, 3), view(square, 3)
    assert torch.equal(first, again)
    differing = {view(square, seed).numpy().tobytes() for seed in range(40)}
    assert len(differing) > 30  # Two of the eight kinds have few versions.


@pytest.mark.parametrize("seed", range(40))
def test_every_view_is_an_image_of_the_same_size_that_lets_the_gradient_pass(
    square: torch.Tensor, seed: int
) -> None:
    image = square.clone().requires_grad_()
    edited = view(image, seed)
    assert edited.shape == image.shape
    assert edited.min() >= -1e-5
    assert edited.max() <= 1 + 1e-5
    edited.sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.1


def test_a_view_does_not_depend_on_the_images_beside_it(square: torch.Tensor) -> None:
    images = torch.cat([square, square.flip(2), *([square.sqrt()] * 14)])
    generators = [torch.Generator().manual_seed(seed) for seed in range(16)]
    views = edited_views(images, generators)
    for seed in range(16):
        alone = view(images[seed : seed + 1], seed)
        assert torch.allclose(views[seed], alone[0], atol=1e-6)
