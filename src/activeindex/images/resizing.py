"""Resizing to the extractor's square input."""

import torch
import torch.nn.functional as F
from PIL import Image

from activeindex.images.levels import from_levels, levels_of

_STRIP = 1 << 18
"""Pixels converted to floats at a time in :func:`to_square`: 3 MB."""


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
