"""Networks whose batch normalisation becomes part of their convolutions."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from activeindex.extractors.adapt import NetworkExtractor
from activeindex.identity import ExtractorIdentity

IDENTITY = ExtractorIdentity("residual", "0", 64)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.norm(self.conv(maps)))


class Residual(nn.Module):
    """As residual networks are, with statistics as after training."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.layers = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), Block(8), Block(8))
        generator = torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight.data, module.bias.data):
                    assert tensor is not None
                    tensor.normal_(generator=generator)
                assert module.running_var is not None
                module.running_var.uniform_(0.5, 2.0, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.layers(images).mean(dim=(2, 3)), dim=1)


class ByBrightness(Residual):
    """Cannot be traced: what it does depends on the values."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images if images.mean() > 0 else -images)


class Reused(Residual):
    """One convolution before two normalisations: folding into either would change the other."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(8).eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layers[0](images)
        both = self.layers[1](maps) + self.other(torch.relu(self.layers[0](-images)))
        return F.normalize(both.mean(dim=(2, 3)), dim=1)


def traced(network: nn.Module) -> nn.Module:
    return torch.jit.trace(network, torch.rand(2, 3, 64, 64))  # type: ignore[no-any-return, no-untyped-call]


def as_it_is(network: nn.Module) -> nn.Module:
    return network


def features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    extractor = NetworkExtractor(network, IDENTITY, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    found: torch.Tensor = extractor(images)
    return found


def normalisations(images: torch.Tensor, network: nn.Module) -> int:
    """How many times features are computed with a batch normalisation."""
    extractor = NetworkExtractor(network, IDENTITY)
    with torch.profiler.profile() as profile:
        extractor(images)
    return sum(event.count for event in profile.key_averages() if event.key == "aten::batch_norm")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", [as_it_is, torch.jit.script, traced])
def test_features_are_the_same_without_a_normalisation(
    images: torch.Tensor, form: Callable[[nn.Module], nn.Module]
) -> None:
    network = Residual().eval()
    expected = network((images - 0.5) / 0.5)
    assert torch.allclose(features(form(network), images), expected, atol=1e-5)
    assert normalisations(images, form(network)) == 0


@pytest.mark.parametrize("kind", [ByBrightness, Reused])
def test_a_network_that_cannot_be_folded_gives_its_own_features(
    images: torch.Tensor, kind: type[Residual]
) -> None:
    network = kind().eval()
    expected = network((images - 0.5) / 0.5)
    assert torch.allclose(features(network, images), expected, atol=1e-5)
    assert normalisations(images, network) > 0


def test_gradients_are_the_same(images: torch.Tensor) -> None:
    network = Residual().eval()
    direction = torch.rand(8, generator=torch.Generator().manual_seed(2))
    found, expected = images.clone().requires_grad_(), images.clone().requires_grad_()
    (features(network, found) @ direction).sum().backward()  # type: ignore[no-untyped-call]
    (network((expected - 0.5) / 0.5) @ direction).sum().backward()
    assert found.grad is not None
    assert expected.grad is not None
    assert torch.allclose(found.grad, expected.grad, rtol=1e-3, atol=1e-6)
