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

# Pixels that to_square converts to floats at a time: 3 MB.
_STRIP = 1 << 18


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


def resize_square(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize ``(3, H, W)`` or ``(B, 3, H, W)`` to a square of ``size`` pixels, differentiably.

    Bilinear with antialiasing, the aspect ratio is not kept. The weights of every output pixel sum
    to one, so resizing commutes with a normalisation per channel: this is the paper's
    resize(N(x)) in [0, 1].
    """
    batched = image.unsqueeze(0) if image.dim() == 3 else image
    resized = _resize(batched, (size, size))
    return resized.squeeze(0) if image.dim() == 3 else resized


def to_square(image: Image.Image, size: int) -> torch.Tensor:
    """Resize an 8-bit RGB image to ``(3, size, size)`` in [0, 1] in little memory.

    Bit for bit ``resize_square(to_tensor(image), size)``: that resizes rows first, then columns,
    so rows can be resized a strip at a time. On 12 megapixels a fraction of the time and memory.

    Raises:
        InputError: If the image is not 8-bit RGB.
    """
    strips = torch.split(levels_of(image).unsqueeze(0), max(1, _STRIP // image.width), dim=2)
    narrow = [_resize(from_levels(strip), size) for strip in strips]
    return _resize(torch.cat(narrow, dim=2), (size, size)).squeeze(0)


def _resize(images: torch.Tensor, size: tuple[int, int] | int) -> torch.Tensor:
    """Resize to ``size``: height and width, or the width alone."""
    wanted = (images.shape[2], size) if isinstance(size, int) else size
    if images.shape[-2:] == wanted:
        return images
    return F.interpolate(images, size=wanted, mode="bilinear", align_corners=False, antialias=True)
