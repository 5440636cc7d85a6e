"""Between 8-bit pixels and float tensors in [0, 1].

*Levels* are 8-bit pixels as tensors ``(..., 3, H, W)``, which can be on an accelerator.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.errors import InputError, ShapeError

Pixels = npt.NDArray[np.uint8]
"""8-bit RGB pixels ``(H, W, 3)``."""


def levels_of(image: Image.Image | Pixels) -> torch.Tensor:
    """8-bit RGB pixels as levels ``(3, H, W)``, uint8, in the memory order of the pixels.

    Args:
        image: An RGB image, or a uint8 array ``(H, W, 3)``.

    Raises:
        InputError: If it is not 8-bit RGB.
    """
    pixels = np.array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"image: expected 8-bit RGB (H, W, 3), found {pixels.dtype} {pixels.shape}"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_tensor(image: Image.Image | Pixels) -> torch.Tensor:
    """8-bit RGB pixels as a float tensor ``(3, H, W)`` in [0, 1]; see :func:`levels_of`."""
    return from_levels(levels_of(image))


def stack_levels(images: Iterable[Pixels], device: torch.device | None = None) -> torch.Tensor:
    """8-bit images ``(H, W, 3)`` of one size as ``(B, 3, H, W)``, uint8.

    Raises:
        ShapeError: If the sizes differ.
    """
    stack = [torch.from_numpy(image.copy()) for image in images]
    for other in stack[1:]:
        if other.shape != stack[0].shape:
            raise ShapeError("image", stack[0].shape, other.shape)
    # In one order with the distortions that are added to them: nearly a tenth of an activation.
    return torch.stack(stack).to(device).permute(0, 3, 1, 2).contiguous()


def to_levels(images: torch.Tensor) -> torch.Tensor:
    """8-bit levels (uint8) of images in [0, 1]: clamped, then rounded."""
    return images.detach().clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)


def from_levels(levels: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] of 8-bit levels (uint8)."""
    return levels.to(torch.float32).div_(255.0)


def to_pixels(image: torch.Tensor) -> Pixels:
    """The 8-bit pixels ``(H, W, 3)`` of a tensor ``(3, H, W)``; see :func:`to_levels`."""
    pixels: Pixels = to_levels(image).permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels
