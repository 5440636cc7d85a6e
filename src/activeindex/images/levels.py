"""Between 8-bit pixels and float tensors in [0, 1], and to the extractor's square input.

*Levels* are 8-bit pixels as tensors ``(..., 3, H, W)``, which can be on an accelerator.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from activeindex.errors import InputError, ShapeError

Pixels = npt.NDArray[np.uint8]
"""8-bit RGB pixels ``(H, W, 3)``."""

_STRIP = 1 << 15
"""Pixels of a strip of rows that stays in a CPU's cache, as floats."""


def levels_of(image: Image.Image | Pixels) -> torch.Tensor:
    """8-bit RGB pixels as levels ``(3, H, W)``, uint8, in the memory order of the pixels.

    Args:
        image: An RGB image, or a uint8 array ``(H, W, 3)``.

    Raises:
        InputError: If it is not 8-bit RGB.
    """
    pixels = np.array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found = f"{pixels.dtype} {pixels.shape}"
        raise InputError(f"image: expected 8-bit RGB (H, W, 3), found {found}")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_tensor(image: Image.Image | Pixels) -> torch.Tensor:
    """8-bit RGB pixels as a float tensor ``(3, H, W)`` in [0, 1]; see :func:`levels_of`."""
    return from_levels(levels_of(image))


def stack_levels(images: Iterable[Pixels], device: torch.device | None = None) -> torch.Tensor:
    """8-bit images ``(H, W, 3)`` of one size as ``(B, 3, H, W)``, uint8.

    Raises:
        ShapeError: If the sizes differ.
    """
    given = list(images)
    for other in given[1:]:
        if other.shape != given[0].shape:
            raise ShapeError("image", given[0].shape, other.shape)
    # In one order with the distortions that are added to them: nearly a tenth of an activation.
    levels = np.empty((len(given), 3, *given[0].shape[:2]), np.uint8)
    for place, image in enumerate(given):
        levels[place] = image.transpose(2, 0, 1)
    return torch.from_numpy(levels).to(device)


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


def resize_square(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize ``(3, H, W)`` or ``(B, 3, H, W)`` to a square of ``size`` pixels, differentiably.

    Bilinear with antialiasing, the aspect ratio is not kept. The weights of every output pixel sum
    to one, so resizing commutes with a normalisation per channel: this is the paper's
    resize(N(x)) in [0, 1].
    """
    batched = image.unsqueeze(0) if image.dim() == 3 else image
    square = resized(batched, (size, size))
    return square.squeeze(0) if image.dim() == 3 else square


def to_square(image: Image.Image, size: int) -> torch.Tensor:
    """Resize an 8-bit RGB image to ``(3, size, size)`` in [0, 1] in little memory.

    Bit for bit ``resize_square(to_tensor(image), size)``: that resizes rows first, then columns,
    so rows can be resized a strip at a time. On 12 megapixels a fraction of the time and memory.

    Raises:
        InputError: If the image is not 8-bit RGB.
    """
    return resized_in_strips(levels_of(image).unsqueeze(0), (size, size)).squeeze(0)


def resized_in_strips(levels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize levels ``(B, 3, H, W)`` to images ``(B, 3, *size)`` in [0, 1], in little memory."""
    strips = torch.split(levels, rows_of_strips(levels), dim=2)
    narrow = [resized(from_levels(strip), (strip.shape[2], size[1])) for strip in strips]
    return resized(torch.cat(narrow, dim=2), size)


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize images ``(B, C, H, W)`` to a height and width, see :func:`resize_square`."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def rows_of_strips(images: torch.Tensor) -> int:
    """Rows of images ``(B, C, H, W)`` to work on at a time: on a CPU, what its cache holds."""
    return max(8, _STRIP // images.shape[3]) if images.is_cpu else images.shape[2]
