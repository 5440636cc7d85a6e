"""Networks of timm and torchvision by name, their classification head removed."""

from pathlib import Path

import torch

from activeindex.extractors.adapt import NetworkExtractor, hash_of_weights
from activeindex.extractors.base import ExtractorIdentity
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.zoo.building import LibraryNetwork
from activeindex.extractors.zoo.checkpoints import load_checkpoint
from activeindex.extractors.zoo.from_timm import build_timm
from activeindex.extractors.zoo.from_torchvision import build_torchvision
from activeindex.runtime.files import check_file, file_hash

__all__ = ["LIBRARIES", "load_checkpoint", "load_from_library"]

_BUILD = {"timm": build_timm, "torchvision": build_torchvision}

LIBRARIES = tuple(_BUILD)


def load_from_library(
    library: str,
    name: str,
    checkpoint: Path | None = None,
    input_size: int | None = None,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """A network of timm or torchvision as an extractor.

    Args:
        library: ``"timm"`` or ``"torchvision"``.
        name: What the library calls the network.
        checkpoint: Its weights; without, the library's own pretrained ones, which it downloads.
        input_size: Side in pixels of the images; by default what the library's own weights were
            made for.
        pooling: Instead of the network's own; for timm networks only, which give their maps.

    Returns:
        The extractor; its notes say which weights of the checkpoint did not fit.

    Raises:
        MissingExtraError: If the library is not installed.
        InputError: If there is no such network, it refuses images of that size, or the checkpoint
            is not one of it.
    """
    if checkpoint is not None:
        check_file(checkpoint, "model_path")
    built = _seeded_build(library, name, checkpoint is None, pooling is not None)
    notes: tuple[str, ...] = ()
    if checkpoint is None:
        sha256 = hash_of_weights(built.network)
    else:
        sha256, notes = file_hash(checkpoint), load_checkpoint(built.network, checkpoint)
    identity = ExtractorIdentity(
        f"{library}:{name}", sha256, built.input_size if input_size is None else input_size
    )
    extractor = NetworkExtractor(built.channels_first(), identity, built.mean, built.std, pooling)
    extractor.notes = notes
    return extractor


def _seeded_build(library: str, name: str, pretrained: bool, maps: bool) -> LibraryNetwork:
    """Builds a network so that weights which no checkpoint brings are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _BUILD[library](name, pretrained, maps)
