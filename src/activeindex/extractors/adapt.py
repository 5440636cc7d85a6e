"""Networks as extractors: PyTorch modules, TorchScript files, and functions."""

import copy
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from activeindex.errors import InputError, library_errors
from activeindex.extractors.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Extractor,
    probe_images,
)
from activeindex.extractors.folding import folded
from activeindex.extractors.pooling import Pooling
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.fields import checked

_PROBE_STEPS = 16
"""Levels between 0 and the largest value to which a probe's feature is rounded before it is hashed,
so that the last bits, which differ between machines, do not make another extractor."""


class NetworkExtractor(Extractor):
    """A network that takes normalised images ``(B, 3, S, S)``.

    Args:
        network: Gives a vector ``(B, d)`` per image, or, with ``pooling``, a map ``(B, d, h, w)``;
            its weights are frozen, and batch normalisation is folded into convolutions.
        identity: Name, weights and input size; pooling is added to the name.
        mean: Mean per channel that is subtracted from images in [0, 1]; ImageNet's by default.
        std: Standard deviation per channel that they are then divided by.
        pooling: Makes a vector of a feature map, which is then scaled to unit length.

    Raises:
        InputError: If the network does not map an image to one vector.
    """

    def __init__(
        self,
        network: nn.Module,
        identity: ExtractorIdentity,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        pooling: Pooling | None = None,
    ) -> None:
        pooled = identity if pooling is None else replace(identity, pooling=str(pooling))
        super().__init__(pooled, dimension=0)
        self.network = folded(network.eval(), identity.input_size)
        for parameter in self.network.parameters():  # Scripted modules have no requires_grad_.
            parameter.requires_grad_(False)
        self.pooling = pooling
        weights = chain(self.network.parameters(), self.network.buffers())
        device = next(weights, torch.empty(0)).device
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean, device=device).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, device=device).view(3, 1, 1))
        self._lay_out()
        self.dimension = self._probe()

    def _lay_out(self) -> None:
        """Put channels last, which is faster on the CPU, if the network runs that way.

        A network that calls ``view`` on maps may not. Two images are needed to find out, since
        views may merge images and channels.
        """
        self._move(torch.channels_last)
        size = self.input_size
        try:
            with torch.no_grad():
                self._network_out(torch.zeros(2, 3, size, size, device=self.device))
        except Exception:  # Networks raise anything. What is still wrong, :meth:`_probe` reports.
            self._move(torch.contiguous_format)

    def _move(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self.network.to(memory_format=layout)  # type: ignore[call-overload]

    def _probe(self) -> int:
        """Return the dimension of the features, found by a pass over an empty image."""
        name, size = self.identity.name, self.input_size
        with (
            torch.no_grad(),
            library_errors(f"{name}: the network refuses an image of {size}x{size}"),
        ):
            out = self._network_out(torch.zeros(1, 3, size, size, device=self.device))
        if not isinstance(out, torch.Tensor):
            raise InputError(f"{name}: expected features (1, d), found a {type(out).__name__}")
        features = out if self.pooling is None else self.pooling(out)
        if features.dim() == 2 and len(features) == 1:
            return features.shape[1]
        hint = "; a feature map needs pooling mean or gem" if features.dim() == 4 else ""
        raise InputError(f"{name}: expected features (1, d), found {tuple(features.shape)}{hint}")

    def _network_out(self, images: torch.Tensor) -> Any:
        normalised = (images - self.mean) / self.std
        return self.network(normalised.contiguous(memory_format=self._layout))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._network_out(images)
        return out if self.pooling is None else F.normalize(self.pooling(out), dim=1)


def as_extractor(
    network: nn.Module | Callable[[torch.Tensor], torch.Tensor],
    input_size: int,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    name: str | None = None,
    pooling: Pooling | str | None = None,
) -> NetworkExtractor:
    """Make an extractor of a network, or of any function of images.

    A module is copied, so the given one stays as it is; the copy is in evaluation mode and its
    weights are frozen. A function is called as it is. Features of different networks are told apart
    by a hash: of the weights (their names, types, shapes and values), and of the feature of a fixed
    probe image (its direction and length).

    Args:
        network: Maps normalised images ``(B, 3, S, S)`` to features ``(B, d)``, or, with
            ``pooling``, to maps ``(B, d, h, w)``; differentiable.
        input_size: Side ``S`` in pixels of the square that images are resized to, 32 or more.
        mean: Mean per channel that is subtracted from images in [0, 1]; ImageNet's by default.
        std: Standard deviation per channel that they are then divided by.
        name: Name of the extractor in files and messages; by default that of the module's class.
            A function needs one.
        pooling: ``mean``, ``gem``, ``gem:P`` or a :class:`Pooling`, for networks that give maps;
            the pooled vectors are scaled to unit length.

    Returns:
        The extractor, on the device of the network. One that cannot be pickled, or whose class or
        function is defined in the user's script, runs in this process alone.

    Raises:
        InputError: If the features are not ``(B, d)``, not finite or have no gradient to the image,
            or a function has no name.

    Example:
        >>> from torch import nn
        >>> convolution, pooling = nn.Conv2d(3, 8, 7, stride=4), nn.AdaptiveAvgPool2d(1)
        >>> network = nn.Sequential(convolution, pooling, nn.Flatten())
        >>> extractor = as_extractor(network, 64, name="tiny")
        >>> extractor(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 8])
    """
    input_size = checked(input_size, "input_size", int)
    means, stds = (tuple(v) if isinstance(v, Sequence) else (v,) for v in (mean, std))
    if len(means) != 3 or len(stds) != 3 or not all(value > 0 for value in stds):
        raise InputError(
            f"mean, std: expected 3 values each, std above 0, found {means} and {stds}"
        )
    if isinstance(network, nn.Module):
        name = name or type(network).__name__
        with library_errors(
            f"{name}: the network cannot be copied; give a function that calls it, and a name"
        ):
            module: nn.Module = copy.deepcopy(network)
    elif not callable(network):
        raise InputError(
            f"extractor: expected a module or a function, found a {type(network).__name__}"
        )
    elif not name:
        raise InputError("name: expected one for an extractor that is a function, found none")
    else:
        module = _FunctionModule(network)
    weights = _hash_of_described(module)
    extractor = NetworkExtractor(
        module,
        ExtractorIdentity(name, weights, input_size),
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        Pooling.parse(pooling) if isinstance(pooling, str) else pooling,
    ).eval()
    extractor.check_gradient()
    sha256 = hashlib.sha256(f"{weights} {_described_feature(extractor)}".encode()).hexdigest()
    extractor.identity = replace(extractor.identity, sha256=sha256)
    return extractor


def load_torchscript(
    path: Path,
    data: bytes,
    identity: ExtractorIdentity,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """Load a scripted or traced network that takes normalised images.

    It is a program: loading and calling it runs what the file says, which may write files.

    Args:
        path: The file, for messages.
        data: Its content.
        identity: See :class:`NetworkExtractor`, as for what follows.
        mean: Likewise.
        std: Likewise.
        pooling: Likewise.

    Raises:
        InputError: If the file is no TorchScript archive or does not map an image to one vector.
    """
    with library_errors(f"{path}: expected a TorchScript file"):
        network = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    return NetworkExtractor(network, identity, mean, std, pooling)


def hash_of_weights(network: nn.Module) -> str:
    """Hash the names and values of all weights of a network."""
    digest = hashlib.sha256()
    for name, value in _weights_of(network):
        digest.update(name.encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _hash_of_described(network: nn.Module) -> str:
    """Hash the names, types, shapes and values of all weights of a network."""
    described = [(name, str(it.dtype), tuple(it.shape)) for name, it in _weights_of(network)]
    return hashlib.sha256(f"{hash_of_weights(network)} {described}".encode()).hexdigest()


def _weights_of(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [
        (name, value.detach().cpu())
        for name, value in sorted(network.state_dict().items())
        if isinstance(value, torch.Tensor)
    ]


def _described_feature(extractor: Extractor) -> str:
    """Describe the feature of a probe, computed in float64 on the CPU where the network allows it.

    The length is left out where it is 1, as it is of most networks for copy detection: 0.2.0 hashed
    the direction alone, and these keep their hashes.

    In float32, and more so with TF32 on a GPU, a value near the middle of two levels would round
    one way here and the other way there.
    """
    probe = probe_images(extractor.input_size)
    with torch.no_grad():
        try:
            (feature,) = copy.deepcopy(extractor).cpu().double()(probe.double())
        except Exception:  # Functions may hold weights elsewhere, or of another type.
            (feature,) = extractor(probe.to(extractor.device)).cpu()
    largest = feature.abs().max().clamp(min=1e-30)
    rounded = (feature / largest * _PROBE_STEPS).round().int().tolist()
    length = f"{feature.norm():.1e}"
    return f"{rounded}" if length == "1.0e+00" else f"{rounded} {length}"


class _FunctionModule(nn.Module):
    """Module that calls a function of images."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images)
