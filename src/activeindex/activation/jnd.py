"""The just-noticeable-difference map: how much a pixel may change before anyone sees it.

Wu et al., "Enhanced just noticeable difference model for images with pattern complexity", IEEE
Transactions on Image Processing, 2017 (IEEE document 7885108), in the form of Fernandez et al.,
"Active image indexing", ICLR 2023: luminance adaptation and contrast masking.
"""

import torch
import torch.nn.functional as F

from activeindex.errors import ShapeError

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""

_LOCAL_MEAN = (
    (1.0, 1.0, 1.0, 1.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 2.0, 0.0, 2.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 1.0, 1.0, 1.0, 1.0),
)  # over 32
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))

_FLOOR = 5.0
"""Smallest visible change that the map states, in 8-bit levels."""


def luminance_adaptation(luminance: torch.Tensor) -> torch.Tensor:
    """Visibility threshold from the local background, in 8-bit levels.

    Args:
        luminance: ``(B, 1, H, W)`` in [0, 255].

    Returns:
        ``(B, 1, H, W)``: 17 (1 - sqrt(B / 127 + 1e-3)) + 3 where the local mean B is at most 127,
        3 / 128 (B - 127) + 3 above.
    """
    kernel = luminance.new_tensor(_LOCAL_MEAN).div(32.0).view(1, 1, 5, 5)
    background = F.conv2d(luminance, kernel, padding=2)
    dark = 17.0 * (1.0 - torch.sqrt(background / 127.0 + 1e-3)) + 3.0
    bright = 3.0 / 128.0 * (background - 127.0) + 3.0
    return torch.where(background <= 127.0, dark, bright)


def contrast_masking(luminance: torch.Tensor) -> torch.Tensor:
    """Visibility threshold from the local contrast, in 8-bit levels.

    Args:
        luminance: ``(B, 1, H, W)`` in [0, 255].

    Returns:
        ``(B, 1, H, W)``: 0.117 * 16 C^2.4 / (C^2 + 26^2) with C the norm of the Sobel gradient.
    """
    horizontal = luminance.new_tensor(_SOBEL)
    kernels = torch.stack([horizontal, horizontal.T]).unsqueeze(1)
    gradients = F.conv2d(luminance, kernels, padding=1)
    contrast = gradients.square().sum(dim=1, keepdim=True).sqrt()
    return 0.117 * 16.0 * contrast.pow(2.4) / (contrast.square() + 26.0**2)


def jnd_map(images: torch.Tensor) -> torch.Tensor:
    """The smallest visible change of each pixel.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1], RGB.

    Returns:
        ``(B, 1, H, W)`` in the same unit: max(LA + CM - 0.3 min(LA, CM), 5) / 255.

    Raises:
        ShapeError: If the images have another shape.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ShapeError("images", ("B", 3, "H", "W"), images.shape)
    weights = images.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    luminance = (images * 255.0 * weights).sum(dim=1, keepdim=True)
    adaptation = luminance_adaptation(luminance)
    masking = contrast_masking(luminance)
    threshold = adaptation + masking - 0.3 * torch.minimum(adaptation, masking)
    return threshold.clamp(min=_FLOOR) / 255.0
