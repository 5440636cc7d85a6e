"""What building a network has in common for all libraries."""

import contextlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError, MissingExtraError, reason_of
from activeindex.extractors.weights import cause_of

Normalisation = tuple[float, float, float]


@dataclass(frozen=True)
class LibraryNetwork:
    """A network without its classification head, and what it wants to be given.

    Attributes:
        network: Takes normalised images ``(B, 3, S, S)``.
        input_size: Side ``S`` in pixels that the library's own weights were made for.
        mean: Mean per channel that is subtracted from images in [0, 1].
        std: Standard deviation per channel that they are then divided by.
        channels_last: Whether its feature maps are ``(B, H, W, C)``.
    """

    network: nn.Module
    input_size: int
    mean: Normalisation
    std: Normalisation
    channels_last: bool = False

    def channels_first(self) -> nn.Module:
        """The network, its feature maps ``(B, C, H, W)``."""
        return _ChannelsFirst(self.network) if self.channels_last else self.network


class _ChannelsFirst(nn.Module):
    """Turns feature maps ``(B, H, W, C)`` of a network into ``(B, C, H, W)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(images)
        return out.permute(0, 3, 1, 2) if out.dim() == 4 else out


def import_library(library: str) -> Any:
    """The module of a library that the extra ``zoo`` brings.

    Raises:
        MissingExtraError: If it is not installed.
        InputError: If it is, beside a torch that it was not built for.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingExtraError(library, "zoo", f"a network of {library}") from None
    except RuntimeError as error:
        reason = reason_of(error)
        raise InputError(f"{library}: installed, but it does not import ({reason})") from None


def built(title: str, pretrained: bool, make: Callable[[], nn.Module]) -> nn.Module:
    """What ``make`` returns.

    Raises:
        InputError: If it fails; says how to do without a download where that can be the reason.
    """
    try:
        # Libraries tell of downloads on the standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return make()
    except Exception as error:  # Libraries and what they download with raise dozens of types.
        reason = cause_of(error)
        # How networks refuse their options; a download fails otherwise.
        if not pretrained or isinstance(error, (AssertionError, TypeError)):
            raise InputError(f"{title}: cannot be built ({reason})") from None
        raise InputError(
            f"{title}: its pretrained weights cannot be had ({reason}); give a checkpoint with "
            "--model_path"
        ) from None
