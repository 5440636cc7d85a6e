"""Networks and functions of a user's own as extractors."""

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import helper
from PIL import Image
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.adapt import as_extractor
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import resolve_extractor
from activeindex.extractors.features import extract_folder
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.identity import ExtractorIdentity
from activeindex.images.levels import to_pixels
from activeindex.runtime.pool import LocalEngine
from tests.extractors.onnx.graphs import write
from tests.extractors.programs import (
    SIDE,
    Attention,
    Convolutions,
    MergedViews,
    Pooled,
    Views,
    images,
    save,
    seeded,
)

HALVES = (0.5, 0.5, 0.5)
CUT_OFF = r": expected a network with a gradient to its images, found one that is (cut off|zero) \("


def brightness(images: torch.Tensor) -> torch.Tensor:
    """The mean of each channel."""
    return images.mean((2, 3))


class Detached(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.detach().mean((2, 3))


class Untracked(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return images.mean((2, 3))


class Rounded(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.round().mean((2, 3))


# Features and identity.


def test_a_module_gives_its_features_of_normalised_images() -> None:
    network = seeded(Convolutions)
    extractor = as_extractor(network, SIDE, mean=HALVES, std=HALVES)
    assert (extractor.identity.name, extractor.identity.input_size) == ("Convolutions", SIDE)
    assert extractor.dimension == 16
    expected = network((images() - 0.5) / 0.5)
    assert torch.allclose(extractor(images()), expected, atol=1e-5)


@pytest.mark.parametrize("make", [Convolutions, Views, MergedViews, Attention, Pooled])
def test_an_exported_program_gives_the_features_and_gradients_of_its_network(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    network = seeded(make)
    program = torch.export.load(save(tmp_path / "network.pt2", network))
    extractor = as_extractor(program.module(), SIDE, mean=HALVES, std=HALVES, name="network")
    found, expected = images().requires_grad_(), images().requires_grad_()
    features, wanted = extractor(found), network((expected - 0.5) / 0.5)
    assert torch.allclose(features, wanted, rtol=1e-4, atol=1e-5)
    weights = torch.linspace(-1, 1, features.shape[1])
    (features @ weights).sum().backward()
    (wanted @ weights).sum().backward()
    assert found.grad is not None
    assert expected.grad is not None
    scale = expected.grad.abs().max().item()
    assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-5 * scale)


def test_a_file_of_a_program_is_refused_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "network.pt2"
    path.write_bytes(b"anything")
    with pytest.raises(InputError) as caught:
        load_extractor(path, SIDE)
    assert str(caught.value) == (
        f"model_path {path}: expected TorchScript, ONNX or .safetensors, found a torch.export "
        f'program; in Python, as_extractor(torch.export.load("{path}").module(), input_size)'
    )


def test_the_module_stays_as_it_was() -> None:
    network = Convolutions().train()
    state = copy.deepcopy(network.state_dict())
    extractor = as_extractor(network, SIDE)
    extractor(images().requires_grad_()).sum().backward()
    assert network.training
    assert all(it.requires_grad and it.grad is None for it in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert network.convolution.weight.is_contiguous()
    assert not any(it.requires_grad for it in extractor.parameters())


def test_a_function_needs_a_name_and_is_an_extractor() -> None:
    with pytest.raises(InputError, match=r"^name: expected one for an extractor that is a functio"):
        as_extractor(brightness, SIDE)
    extractor = as_extractor(brightness, SIDE, mean=(0, 0, 0), std=(1, 1, 1), name="brightness")
    assert torch.allclose(extractor(images()), images().mean((2, 3)), atol=1e-6)
    with pytest.raises(InputError, match=r"^extractor: expected a module or a function, found a s"):
        as_extractor("brightness", SIDE)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["gem:4", Pooling(4.0)])
def test_maps_are_pooled(pooling: Pooling | str) -> None:
    network = nn.Conv2d(3, 8, 4, stride=4)
    extractor = as_extractor(network, SIDE, name="maps", pooling=pooling)
    assert (extractor.identity.name, extractor.identity.pooling) == ("maps", "gem:4")
    assert torch.allclose(extractor(images()).norm(dim=1), torch.ones(3), atol=1e-5)
    with pytest.raises(InputError, match=r"found \(1, 8, 8, 8\); a feature map needs pooling"):
        as_extractor(network, SIDE)


def test_the_identity_tells_networks_apart_and_recognises_them() -> None:
    network = seeded(Convolutions)
    first = as_extractor(network, SIDE).identity
    assert as_extractor(seeded(Convolutions), SIDE).identity == first
    assert len(first.sha256) == 64

    class Doubled(Convolutions):  # The same weights.
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.flip(1))

    changed = seeded(Convolutions)
    with torch.no_grad():
        changed.get_parameter("last.bias")[0] += 1e-3
    others = (
        as_extractor(changed, SIDE),
        as_extractor(seeded(Doubled), SIDE, name="Convolutions"),
        as_extractor(network, SIDE, mean=HALVES),
    )
    assert len({first.sha256, *(other.identity.sha256 for other in others)}) == 4


def test_the_identity_tells_the_length_of_features_apart() -> None:
    plain = as_extractor(brightness, SIDE, name="mine")
    longer = as_extractor(lambda images: 2 * brightness(images), SIDE, name="mine")
    assert plain.identity != longer.identity


# What is refused.


@pytest.mark.parametrize("network", [Detached(), Untracked(), Rounded()])
@pytest.mark.parametrize("kind", ["adapted", "torchscript"])
def test_a_network_without_a_gradient_is_refused(
    network: nn.Module, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.pt"
    torch.jit.save(torch.jit.script(network), str(path))
    with pytest.raises(InputError, match=CUT_OFF):
        as_extractor(network, SIDE) if kind == "adapted" else load_extractor(path, SIDE)


@pytest.mark.parametrize("network", [Detached(), Rounded()])
def test_a_program_without_a_gradient_is_refused(network: nn.Module, tmp_path: Path) -> None:
    program = torch.export.load(save(tmp_path / "network.pt2", network))
    with pytest.raises(InputError, match=f"^network{CUT_OFF}"):
        as_extractor(program.module(), SIDE, name="network")


def test_a_graph_without_a_gradient_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Floor", ["x"], ["whole"]),
        helper.make_node("ReduceMean", ["whole"], ["y"], axes=[2, 3], keepdims=0),
    ]
    path = write(tmp_path / "network.onnx", nodes)
    with pytest.raises(InputError, match=f"^network.onnx{CUT_OFF}"):
        load_extractor(path, SIDE)


class TrainedOnly(nn.Module):
    """Requires a gradient of its parameters, not of its images."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.last(images.detach().mean((2, 3)))
        return features


TRAINED = seeded(TrainedOnly)


def inferred(images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return images.mean((2, 3))


def rooted(images: torch.Tensor) -> torch.Tensor:
    """Roots of zeros: the feature is finite, the gradient is not."""
    return images.mean((2, 3)) + (images - images).mean((2, 3)).sqrt()


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (TRAINED, "one that is cut off"),
        (inferred, "one that is cut off"),
        (rooted, "one of NaN or infinity"),
        (lambda images: images.mean((2, 3)) * 0 + 1, "one that is zero"),
        (lambda images: (images > 0).float().mean((2, 3)), "one that is cut off"),
    ],
)
def test_a_missing_gradient_is_named_however_it_is_lost(
    function: Callable[[torch.Tensor], torch.Tensor], found: str
) -> None:
    with pytest.raises(InputError) as caught:
        as_extractor(lambda images: function(images), SIDE, name="mine")
    text = f"mine: expected a network with a gradient to its images, found {found}"
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_extractors_may_be_loaded_where_gradients_are_off(
    mode: Callable[[], Any], tmp_path: Path
) -> None:
    torch.jit.save(torch.jit.script(seeded(Pooled)), str(tmp_path / "network.pt"))
    with mode():
        extractor = load_extractor(tmp_path / "network.pt", SIDE)
    found = images().requires_grad_()
    extractor(found).sum().backward()
    assert found.grad is not None


class Unseen(Extractor):
    """A user's own class, whose features pass no gradient."""

    def __init__(self) -> None:
        super().__init__(ExtractorIdentity("unseen", "0" * 64, SIDE), 3)
        self.register_buffer("unused", torch.zeros(1))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return images.detach().mean((2, 3))


def test_an_extractor_of_a_class_of_the_users_is_checked_where_it_is_taken() -> None:
    with pytest.raises(InputError, match=f"^unseen{CUT_OFF}"):
        resolve_extractor(Unseen())


def broken(images: torch.Tensor) -> torch.Tensor:
    raise ValueError("no such layer")


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (
            lambda images: images.mean((2, 3)) / 0,
            r"expected finite features, found NaN or",
        ),
        (lambda images: images.mean(), r"expected features \(1, d\), found \(\)"),
        (lambda images: [images], r"expected features \(1, d\), found a list"),
        (lambda images: images.double().mean((2, 3)), r"expected features in float32, found torch"),
        (
            lambda images: images.mean((2, 3))[:, :0],
            r"expected features \(2, d\) of 2 images, found",
        ),
        (lambda images: images.mean((2, 3)).reshape(1, -1), r"expected features \(2, 3\) of 2 ima"),
        (
            lambda images: images.mean((2, 3)) - images.mean((0, 2, 3)) + 1,
            "expected features that depend on their own image alone",
        ),
        (broken, r"the network refuses an image of 32x32 \(no such layer\)"),
    ],
)
def test_what_is_no_feature_is_refused_in_one_line(
    function: Callable[[torch.Tensor], torch.Tensor], found: str
) -> None:
    with pytest.raises(InputError, match=f"^mine: {found}"):
        as_extractor(function, SIDE, name="mine")


def test_the_identity_survives_small_differences_between_devices() -> None:
    """Sums in another order, as on a GPU, change the last bits of a feature and not its hash."""

    class Noisy(Pooled):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = super().forward(images)
            noise = 1e-3 * torch.linspace(-1, 1, features.shape[1])
            return features + noise if features.dtype == torch.float32 else features

    plain, noisy = seeded(Pooled), seeded(Noisy)
    identities = [as_extractor(each, SIDE, name="net").identity for each in (plain, noisy)]
    assert identities[0] == identities[1]


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"^resize_size: expected 32 or more, found 16$"):
        as_extractor(seeded(Pooled), 16)
    with pytest.raises(InputError, match=r"^mean, std: expected 3 values each, std above 0, found"):
        as_extractor(seeded(Pooled), SIDE, std=(1, 0, 1))
    with pytest.raises(InputError, match=r"^mean, std: expected 3 values each, std above 0, found"):
        as_extractor(seeded(Pooled), SIDE, mean=0.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^input_size: expected a whole number, found"):
        as_extractor(seeded(Pooled), (64, 64))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^pooling: expected mean, gem or gem:P, found 'max'$"):
        as_extractor(seeded(Pooled), SIDE, pooling="max")


def test_a_module_that_cannot_be_copied_is_named() -> None:
    network = seeded(Pooled)
    network.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(
        InputError, match=r"^Pooled: the network cannot be copied; give a function .* \(cann"
    ):
        as_extractor(network, SIDE)
    assert as_extractor(lambda images: network(images), SIDE, name="pooled").dimension == 8


# Other processes.


def test_an_adapted_network_is_pickled_with_its_weights() -> None:
    extractor = as_extractor(seeded(Pooled), SIDE)
    again = pickle.loads(pickle.dumps(extractor))
    assert again.identity == extractor.identity
    assert torch.equal(again(images()), extractor(images()))


@pytest.mark.parametrize("function", [brightness, lambda images: images.mean((2, 3))])
def test_an_extractor_gives_the_same_features_with_workers(
    function: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images()):
        Image.fromarray(to_pixels(image)).save(tmp_path / "in" / f"{number}.png")
    extractor = as_extractor(function, SIDE, name="brightness")
    expected = extract_folder(extractor, tmp_path / "in", tmp_path / "here")
    with LocalEngine(2, sharded=True) as workers:
        found = extract_folder(extractor, tmp_path / "in", tmp_path / "there", workers=workers)
    assert found.features.read_bytes() == expected.features.read_bytes()
