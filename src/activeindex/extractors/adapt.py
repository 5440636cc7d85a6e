"""Networks that take normalised images, as extractors."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, Extractor, ExtractorIdentity
from activeindex.extractors.folding import folded
from activeindex.extractors.pooling import Pooling


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
        super().__init__(identity.with_suffix(str(pooling)) if pooling else identity, dimension=0)
        self.network = folded(network.eval(), identity.input_size)
        for parameter in self.network.parameters():  # Scripted modules have no requires_grad_.
            parameter.requires_grad_(False)
        self.pooling = pooling
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self._lay_out()
        self.dimension = self._probe()

    def _lay_out(self) -> None:
        """Puts channels last, where convolutions are faster on the CPU, if the network runs so.

        One that calls ``view`` on maps does not. It takes two images to tell, since views may
        merge images and channels.
        """
        self._move(torch.channels_last)
        size = self.input_size
        try:
            with torch.no_grad():
                self._network_out(torch.zeros(2, 3, size, size, device=self.device))
        except (AssertionError, RuntimeError):  # :meth:`_probe` says what is amiss, if it still is.
            self._move(torch.contiguous_format)

    def _move(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self.network.to(memory_format=layout)  # type: ignore[call-overload]

    def _probe(self) -> int:
        """The dimension, found by a pass over an empty image."""
        name, size = self.identity.name, self.input_size
        try:
            with torch.no_grad():
                out = self._network_out(torch.zeros(1, 3, size, size, device=self.device))
        except (AssertionError, RuntimeError) as error:  # What networks check their input with.
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise InputError(
                f"{name}: the network refuses an image of {size}x{size} ({reason})"
            ) from None
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
