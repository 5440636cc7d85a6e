"""The base class of extractors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Any, SupportsIndex

import torch
from torch import nn

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.identity import ExtractorIdentity

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_SAME = 1e-2
"""Largest difference of a feature between batches, relative to its largest value; rounding makes
1e-5."""


class Extractor(nn.Module, ABC):
    """Differentiable map from images to features.

    Called with RGB images ``(B, 3, S, S)`` in [0, 1], where ``S`` is ``input_size``
    (:func:`~activeindex.images.levels.resize_square` resizes to it), it returns features
    ``(B, d)`` in float32. It normalises the images itself. The weights are frozen.

    Pickling stores the way to load it again, where that is known, instead of its weights.

    Args:
        identity: Name, weights and input size.
        dimension: The number ``d`` of values in a feature.

    Attributes:
        notes: Lines for the user about how it was loaded.
        verified: True once :meth:`check_gradient` has passed.
        loaded_by: Function that loads it again in another process; None if there is none.
    """

    notes: tuple[str, ...] = ()
    verified: bool = False
    loaded_by: Callable[[], "Extractor"] | None = None

    def __init__(self, identity: ExtractorIdentity, dimension: int) -> None:
        super().__init__()
        if identity.input_size < 32:
            raise InputError(f"resize_size: expected 32 or more, found {identity.input_size}")
        self.identity = identity
        self.dimension = dimension

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if self.loaded_by is None:
            return super().__reduce_ex__(protocol)
        return _load_again, (self.loaded_by, self.identity)

    @property
    def input_size(self) -> int:
        """Side in pixels of the square images that this extractor takes."""
        return self.identity.input_size

    @property
    def device(self) -> torch.device:
        """Device of the weights, on which images have to be."""
        return next(chain(self.parameters(), self.buffers())).device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features ``(B, d)`` of images ``(B, 3, S, S)`` in [0, 1].

        Raises:
            ShapeError: If the images have another shape.
        """
        size = self.input_size
        if images.dim() != 4 or images.shape[1:] != (3, size, size):
            raise ShapeError("images", ("B", 3, size, size), images.shape)
        # Convolutions between clamps run several times faster on the CPU when channels are last.
        return self._features(images.contiguous(memory_format=torch.channels_last))

    def check_gradient(self) -> None:
        """Check on two probe images that images can be activated through their features.

        Raises:
            InputError: If the features are not finite float32 ``(B, d)``, depend on the other
                images of a batch, or pass no finite gradient other than 0 to their image.
        """
        name, expected = self.identity.name, "a network with a gradient to its images"
        with torch.inference_mode(False), torch.enable_grad():
            images = probe_images(self.input_size, 2).to(self.device).requires_grad_()
            with library_errors(f"{name}: expected dense features (B, d) of batches of any size"):
                features = self(images)
                (alone,) = self(images[:1]).detach()
                _check_features(name, features, alone, self.dimension)
            gradient = None
            if features.requires_grad:
                # Weighted, since the length of normalised features is constant.
                weights = torch.linspace(-1, 1, features.shape[1], device=features.device)
                with library_errors(f"{name}: expected {expected}, found none"):
                    (gradient,) = torch.autograd.grad(
                        (features @ weights).sum(), images, allow_unused=True
                    )
        if gradient is None:
            raise InputError(
                f"{name}: expected {expected}, found one that is cut off (torch.no_grad, "
                "inference_mode or detach)"
            )
        if not gradient.isfinite().all():
            raise InputError(f"{name}: expected {expected}, found one of NaN or infinity")
        if not gradient.flatten(1).any(dim=1).all():
            raise InputError(
                f"{name}: expected {expected}, found one that is zero (rounding, or a comparison)"
            )
        self.verified = True

    @abstractmethod
    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images of the right shape; see :meth:`forward`."""


def _check_features(name: str, features: torch.Tensor, alone: torch.Tensor, dimension: int) -> None:
    """Check the features of two images, and that of the first one alone."""
    if features.shape != (2, dimension) or dimension == 0:
        raise InputError(
            f"{name}: expected features (2, {dimension or 'd'}) of 2 images, found "
            f"{tuple(features.shape)}; trace or export it with a batch of any size"
        )
    if features.dtype != torch.float32:
        raise InputError(f"{name}: expected features in float32, found {features.dtype}")
    if not features.isfinite().all():
        raise InputError(f"{name}: expected finite features, found NaN or infinity")
    first = features[0].detach()
    if (first - alone).abs().max() > _SAME * first.abs().max():
        raise InputError(
            f"{name}: expected features that depend on their own image alone, found others in "
            "another batch (a network in training mode?)"
        )


def probe_images(size: int, count: int = 1) -> torch.Tensor:
    """Return images ``(count, 3, size, size)`` of fixed noise in [0, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _load_again(load: Callable[[], Extractor], identity: ExtractorIdentity) -> Extractor:
    """Load an extractor in another process, on its GPU if it has one."""
    extractor = load()
    if extractor.identity != identity:
        raise InputError(
            f"extractor: expected {identity} on every machine, found {extractor.identity}"
        )
    return extractor.to("cuda" if torch.cuda.is_available() else "cpu")
