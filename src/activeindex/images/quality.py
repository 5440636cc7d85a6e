"""How much an image was changed, measured on its 8-bit pixels as a viewer gets them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from activeindex.errors import ShapeError
from activeindex.images.decoding import Pixels, to_tensor

_SSIM_WINDOW = 11  # Wang et al. 2004, with a Gaussian of 1.5 pixels.

_CPU = torch.device("cpu")


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

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, L-inf {self.linf}"


def measure_quality(original: Pixels, changed: Pixels, device: torch.device = _CPU) -> Quality:
    """Compares two 8-bit RGB images.

    Args:
        original: Pixels ``(H, W, 3)``, uint8.
        changed: Pixels of the same shape.
        device: Where SSIM, which takes most of the time, is computed.

    Raises:
        ShapeError: If the shapes differ.
    """
    return Quality(
        psnr(original, changed), ssim(original, changed, device), largest_change(original, changed)
    )


def psnr(original: Pixels, changed: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of pixels ``(H, W, 3)``; see :class:`Quality`."""
    error = float(np.mean(np.square(_difference(original, changed), dtype=np.float64)))
    return float("inf") if error == 0 else 10.0 * float(np.log10(255.0**2 / error))


def largest_change(original: Pixels, changed: Pixels) -> int:
    """L-infinity in 8-bit levels of pixels ``(H, W, 3)``."""
    return int(np.abs(_difference(original, changed)).max())


def ssim(original: Pixels, changed: Pixels, device: torch.device = _CPU) -> float:
    """Structural similarity of pixels ``(H, W, 3)``; see :class:`Quality`."""
    _difference(original, changed)
    pair = (to_tensor(pixels).unsqueeze(0).to(device) for pixels in (original, changed))
    return similarity(*pair)


def similarity(original: torch.Tensor, changed: torch.Tensor) -> float:
    """Structural similarity of images ``(1, 3, H, W)`` in [0, 1]."""
    from kornia.metrics import ssim as ssim_map

    values: torch.Tensor = ssim_map(original, changed, _SSIM_WINDOW)
    return float(values.mean())


def _difference(original: Pixels, changed: Pixels) -> npt.NDArray[np.int16]:
    if original.shape != changed.shape:
        raise ShapeError("changed image", original.shape, changed.shape)
    return np.subtract(changed, original, dtype=np.int16)
