"""Extractors in TorchScript files."""

from pathlib import Path

import torch
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Extractor,
    ExtractorIdentity,
)


class TorchScriptExtractor(Extractor):
    """A scripted or traced network that takes normalised images ``(B, 3, S, S)``.

    Args:
        network: The network; its weights are frozen.
        identity: Name, weights and input size.
        mean: Mean per channel that is subtracted from images in [0, 1]; ImageNet's by default.
        std: Standard deviation per channel that they are then divided by.

    Raises:
        InputError: If the network does not map an image to one vector.
    """

    def __init__(
        self,
        network: nn.Module,
        identity: ExtractorIdentity,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__(identity, dimension=0)
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.dimension = self._probe()

    def _probe(self) -> int:
        size = self.input_size
        try:
            with torch.no_grad():
                features = self._features(torch.zeros(1, 3, size, size, device=self.device))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"{self.identity.name}: the network refuses an image of {size}x{size} ({reason})"
            ) from None
        if not isinstance(features, torch.Tensor) or features.dim() != 2 or len(features) != 1:
            found = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features)
            raise InputError(f"{self.identity.name}: expected features (1, d), found {found}")
        return features.shape[1]

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network((images - self.mean) / self.std)
        return features


def load_torchscript(path: Path, identity: ExtractorIdentity) -> TorchScriptExtractor:
    """Loads a TorchScript file, with ImageNet's normalisation before it.

    Raises:
        InputError: If the file is no TorchScript archive or does not map an image to one vector.
    """
    try:
        network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: expected a TorchScript file ({reason})") from None
    return TorchScriptExtractor(network, identity)
