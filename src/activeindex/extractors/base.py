"""What every extractor declares and does."""

import pickle
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
    """Maps images to features, differentiably.

    Called with images ``(B, 3, S, S)`` in [0, 1], RGB, where ``S`` is ``input_size``
    (:func:`~activeindex.images.resize_square` brings them there); returns features ``(B, d)`` in
    float32. Normalisation happens inside and nowhere else. The weights are frozen.

    Args:
        identity: Name, weights and input size.
        dimension: The number ``d`` of values in a feature.

    Pickled, it is not its weights that travel but how to load them, where that is known.

    Attributes:
        notes: What its user should know of how it was loaded, a line each.
        loaded_by: Loads it again, in another process; None if it was put together by hand.
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
    def travels(self) -> bool:
        """Whether worker processes can have it: by the way it is loaded, or pickled as it is.

        What is defined in the user's own script cannot be unpickled elsewhere.
        """
        if self.loaded_by is not None:
            return True
        try:
            pickled = pickle.dumps(self)
        except Exception:  # Foreign modules raise anything.
            return False
        return b"__main__" not in pickled

    @property
    def input_size(self) -> int:
        """Side in pixels of the square images that this extractor takes."""
        return self.identity.input_size

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where images have to be."""
        return next(chain(self.parameters(), self.buffers())).device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``(B, d)`` of images ``(B, 3, S, S)`` in [0, 1].

        Raises:
            ShapeError: If the images have another shape.
        """
        size = self.input_size
        if images.dim() != 4 or images.shape[1:] != (3, size, size):
            raise ShapeError("images", ("B", 3, size, size), images.shape)
        # Convolutions between clamps run several times faster on the CPU when channels are last.
        return self._features(images.contiguous(memory_format=torch.channels_last))

    def check_gradient(self) -> None:
        """Checks on a probe image that a gradient reaches it from the features.

        Raises:
            InputError: If the features are not finite, or no gradient reaches the image: such an
                extractor could not be activated for.
        """
        name = self.identity.name
        with torch.enable_grad():
            images = probe_images(self.input_size).to(self.device).requires_grad_()
            features = self(images)
            if not torch.isfinite(features).all():
                raise InputError(f"{name}: expected finite features, found NaN or infinity")
            if not features.requires_grad:
                raise InputError(
                    f"{name}: expected a network with a gradient to its images, found one that is "
                    "cut off (torch.no_grad, inference_mode or detach)"
                )
            # Not the length: that of normalised features is constant.
            weights = torch.linspace(-1, 1, features.shape[1], device=features.device)
            try:
                (gradient,) = torch.autograd.grad(
                    (features * weights).sum(), images, allow_unused=True
                )
            except RuntimeError as error:
                raise InputError(
                    f"{name}: expected a network with a gradient to its images, found none "
                    f"({reason_of(error)})"
                ) from None
        if gradient is None or not gradient.any():
            raise InputError(
                f"{name}: expected a network with a gradient to its images, found one that is zero "
                "(rounding, or a comparison)"
            )

    @abstractmethod
    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """What :meth:`forward` returns, for images of the right shape."""


def probe_images(size: int, count: int = 1) -> torch.Tensor:
    """Images ``(count, 3, size, size)`` of noise in [0, 1], the same every time."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _load_again(load: Callable[[], Extractor], identity: ExtractorIdentity) -> Extractor:
    """The same extractor in another process, on the GPU that it was given if it was given one."""
    extractor = load()
    if extractor.identity != identity:
        raise InputError(
            f"extractor: expected {identity} on every machine, found {extractor.identity}"
        )
    return extractor.to("cuda" if torch.cuda.is_available() else "cpu")
