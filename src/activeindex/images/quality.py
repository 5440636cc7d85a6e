"""Distortion of images (PSNR, SSIM, L-infinity), measured on their 8-bit pixels."""

import math
from dataclasses import dataclass

import torch

from activeindex.errors import ShapeError
from activeindex.images.levels import Pixels, from_levels, stack_levels

_SSIM_WINDOW = 11  # Wang et al. 2004, with a Gaussian of 1.5 pixels.

# Pixels of the images whose similarity is computed together; each takes about 150 bytes.
_SSIM_PIXELS = 1 << 22


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


def measure_quality(original: Pixels, changed: Pixels) -> Quality:
    """Compare two 8-bit RGB images ``(H, W, 3)``.

    Raises:
        ShapeError: If the shapes differ.
    """
    return measure_qualities(stack_levels([original]), stack_levels([changed]))[0]


def psnr(original: Pixels, changed: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of pixels ``(H, W, 3)``; see :class:`Quality`."""
    return psnrs(stack_levels([original]), stack_levels([changed]))[0]


def ssim(original: Pixels, changed: Pixels) -> float:
    """Structural similarity of pixels ``(H, W, 3)``; see :class:`Quality`."""
    return ssims(stack_levels([original]), stack_levels([changed]))[0]


def measure_qualities(original: torch.Tensor, changed: torch.Tensor) -> list[Quality]:
    """Compare a batch of 8-bit images with their originals, on their device.

    Args:
        original: Levels ``(B, 3, H, W)``, uint8, as of :func:`stack_levels`.
        changed: Levels of the same shape.

    Raises:
        ShapeError: If the shapes differ.
    """
    found = psnrs(original, changed), ssims(original, changed), largest_changes(original, changed)
    return [Quality(*values) for values in zip(*found, strict=True)]


def psnrs(original: torch.Tensor, changed: torch.Tensor) -> list[float]:
    """Peak signal-to-noise ratios of levels ``(B, 3, H, W)`` in dB; see :class:`Quality`."""
    squares = _difference(original, changed).square()
    # Whole numbers, so that the sum is the same on every device.
    sums = squares.sum(dim=(1, 2, 3), dtype=torch.int64).tolist()
    values = math.prod(original.shape[1:])
    return [10.0 * math.log10(255.0**2 / (each / values)) if each else math.inf for each in sums]


def largest_changes(original: torch.Tensor, changed: torch.Tensor) -> list[int]:
    """L-infinity of levels ``(B, 3, H, W)``."""
    largest: list[int] = _difference(original, changed).abs().amax(dim=(1, 2, 3)).tolist()
    return largest


def ssims(original: torch.Tensor, changed: torch.Tensor) -> list[float]:
    """Structural similarities of levels ``(B, 3, H, W)``; see :class:`Quality`."""
    _difference(original[:1], changed[:1])
    return similarities(from_levels(original), from_levels(changed))


def similarities(original: torch.Tensor, changed: torch.Tensor) -> list[float]:
    """Structural similarities of images ``(B, 3, H, W)`` in [0, 1]."""
    from kornia.metrics import ssim as ssim_map

    together = max(1, _SSIM_PIXELS // math.prod(original.shape[2:]))
    pairs = zip(torch.split(original, together), torch.split(changed, together), strict=True)
    maps = (ssim_map(*pair, _SSIM_WINDOW) for pair in pairs)
    means: list[float] = torch.cat([each.mean(dim=(1, 2, 3)) for each in maps]).tolist()
    return means


def _difference(original: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    if original.shape != changed.shape:
        # Shapes as their pixels have them, (H, W, 3).
        shapes = ((*images.shape[2:], images.shape[1]) for images in (original, changed))
        raise ShapeError("changed image", *shapes)
    return changed.to(torch.int32) - original
