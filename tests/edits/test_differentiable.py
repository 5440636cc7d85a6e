"""Steps that look at edited views besides the image."""

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.activation.activate import activate
from activeindex.activation.presets import DEEP
from activeindex.activation.results import ActivationResult
from activeindex.edits.differentiable import edited_views
from activeindex.edits.geometric import center_crop
from activeindex.edits.warps import rotate
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.resizing import resize_square, to_square
from activeindex.indexing.quantiser import Quantiser


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


def test_rotated_and_cropped_copies_are_nearer_to_the_target_than_without_views(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    def distances(views: int) -> np.ndarray:
        settings = DEEP.settings.replace(iterations=5, edited_views=views)
        result = activate(images, small_sscd, quantiser, settings, release=DEEP.release)
        assert [image.passes for image in result.images] == [5 * (1 + views)] * 3
        assert all(42.5 <= image.quality.psnr < 42.8 for image in result.images)
        return np.concatenate([distances_of_copies(result, number) for number in range(3)])

    def distances_of_copies(result: ActivationResult, number: int) -> np.ndarray:
        original = resize_square(images[number], small_sscd.input_size).unsqueeze(0)
        target = quantiser.reconstruct(features_of(small_sscd, original))
        picture = Image.fromarray(result.images[number].pixels)
        copies = [rotate(picture, 25), rotate(picture, 90), center_crop(picture, 0.5)]
        squares = torch.stack([to_square(copy, small_sscd.input_size) for copy in copies])
        found: np.ndarray = np.linalg.norm(features_of(small_sscd, squares) - target, axis=1)
        return found

    assert distances(2).mean() < distances(0).mean()


def test_a_negative_number_of_views_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^edited_views: expected 0 or more, found -1$"):
        DEEP.settings.replace(edited_views=-1)
