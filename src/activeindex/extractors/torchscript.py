"""Extractors in TorchScript files."""

from pathlib import Path

import torch

from activeindex.errors import InputError, reason_of
from activeindex.extractors.adapt import NetworkExtractor
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, ExtractorIdentity
from activeindex.extractors.pooling import Pooling


def load_torchscript(
    path: Path,
    identity: ExtractorIdentity,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """Loads a scripted or traced network that takes normalised images.

    Raises:
        InputError: If the file is no TorchScript archive or does not map an image to one vector.
    """
    try:
        network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: expected a TorchScript file ({reason_of(error)})") from None
    return NetworkExtractor(network, identity, mean, std, pooling)
