"""How much an image was changed, measured on its 8-bit pixels as a viewer gets them."""

from dataclasses import dataclass

import numpy as np
import torch

from activeindex.errors import ShapeError
from activeindex.images.decoding import Pixels, to_tensor

_SSIM_WINDOW = 11  # Wang et al. 2004, with a Gaussian of 1.5 pixels.


@dataclass(frozen=True)
class Quality:
    """The distance of a changed image from its original.

    Attributes:
        psnr: Peak signal-to-noise ratio over all pixels and channels in dB; inf when identical.
        ssim: Structural similarity (Wang et al. 2004), mean over pixels and channels, at most 1.
        linf: The largest change of a pixel value, in 8-bit levels, 0 to 255.
    """

    psnr: float
    ssim: float
    linf: int


def measure_quality(original: Pixels, changed: Pixels) -> Quality:
    """Compares two 8-bit RGB images.

    Args:
        original: Pixels ``(H, W, 3)``, uint8.
        changed: Pixels of the same shape.

    Raises:
        ShapeError: If the shapes differ.
    """
    if original.shape != changed.shape:
        raise ShapeError("changed image", original.shape, changed.shape)
    difference = changed.astype(np.float64) - original.astype(np.float64)
    error = float(np.mean(difference**2))
    psnr = float("inf") if error == 0 else 10.0 * float(np.log10(255.0**2 / error))
    return Quality(psnr, _ssim(original, changed), int(np.abs(difference).max()))


def _ssim(original: Pixels, changed: Pixels) -> float:
    from kornia.metrics import ssim

    similarity: torch.Tensor = ssim(
        to_tensor(original).unsqueeze(0), to_tensor(changed).unsqueeze(0), _SSIM_WINDOW
    )
    return float(similarity.mean())
