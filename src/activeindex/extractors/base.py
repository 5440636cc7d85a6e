"""The base class of extractors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Any, SupportsIndex

import torch
from torch import nn

from activeindex.errors import InputError, ShapeError, reason_of
from activeindex.identity import ExtractorIdentity

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        loaded_by: Function that loads it again in another process; None if there is none.
    """

    notes: tuple[str, ...] = ()
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
        """Check that a gradient reaches a probe image from its features.

        Raises:
            InputError: If the features are not finite, or no gradient reaches the image, so that
                images could not be activated.
        """
        name, found = self.identity.name, ""
        images = probe_images(self.input_size).to(self.device).requires_grad_()
        with torch.enable_grad():
            features = self(images)
        if not torch.isfinite(features).all():
            raise InputError(f"{name}: expected finite features, found NaN or infinity")
        if features.requires_grad:
            # Weighted, since the length of normalised features is constant.
            weights = torch.linspace(-1, 1, features.shape[1], device=features.device)
            try:
                (gradient,) = torch.autograd.grad((features @ weights).sum(), images)
                if not gradient.any():
                    found = "one that is zero (rounding, or a comparison)"
            except RuntimeError as error:
                found = f"none ({reason_of(error)})"
        else:
            found = "one that is cut off (torch.no_grad, inference_mode or detach)"
        if found:
            raise InputError(
                f"{name}: expected a network with a gradient to its images, found {found}"
            )

    @abstractmethod
    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images of the right shape; see :meth:`forward`."""


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
