"""Distortion of images (PSNR, SSIM, L-infinity), measured on their 8-bit pixels."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from activeindex.errors import ShapeError
from activeindex.images.levels import Pixels, from_levels, rows_of_strips, stack_levels

# Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
# Transactions on Image Processing, 2004: a Gaussian window, and constants for values in [0, 1].
_SSIM_RADIUS, _SSIM_SIGMA = 5, 1.5
_SSIM_CONSTANTS = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Quality:
    """The distance of a changed image from its original.

    Attributes:
        psnr: Peak signal-to-noise ratio over all pixels and channels in dB; inf when identical.
        ssim: Structural similarity (Wang et al. 2004), mean over pixels and channels, at most 1.
        linf: The largest change of a pixel value, in 8-bit levels, 0 to 255.
        ssimulacra2: SSIMULACRA2, at most 100; None where it was not measured.
        delta_e: Colour difference of the region that changed most
            (:func:`activeindex.images.colours.worst_difference`); None likewise.
    """

    psnr: float
    ssim: float
    linf: int
    ssimulacra2: float | None = None
    delta_e: float | None = None

    def __str__(self) -> str:
        said = f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, L-inf {self.linf}"
        score = self.ssimulacra2
        return said if score is None else f"{said}, SSIMULACRA2 {score:.1f}"


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
    values = math.prod(original.shape[1:])
    # Whole numbers, so that the sum is the same on every device and in strips of any size.
    sums = [
        difference.square_().sum(dim=(1, 2, 3), dtype=torch.float64)
        for difference in _differences(original, changed)
    ]
    errors = (torch.stack(sums).sum(dim=0) / values).tolist()
    return [10.0 * math.log10(255.0**2 / error) if error else math.inf for error in errors]


def largest_changes(original: torch.Tensor, changed: torch.Tensor) -> list[int]:
    """L-infinity of levels ``(B, 3, H, W)``."""
    strips = _differences(original, changed)
    largest = torch.stack([each.abs().amax(dim=(1, 2, 3)) for each in strips]).amax(dim=0)
    return [int(change) for change in largest.tolist()]


def _differences(original: torch.Tensor, changed: torch.Tensor) -> Iterator[torch.Tensor]:
    """Differences of levels, float32, in strips of rows."""
    _check_shapes(original, changed)
    rows = rows_of_strips(original)
    pairs = zip(*(torch.split(images, rows, dim=2) for images in (original, changed)), strict=True)
    return (there.float().sub_(here) for here, there in pairs)


def ssims(original: torch.Tensor, changed: torch.Tensor) -> list[float]:
    """Structural similarities of images ``(B, 3, H, W)``: levels, or floats in [0, 1].

    Means over the values of SSIM at every pixel and channel; images are mirrored at their borders.

    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(original, changed)
    offsets = range(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    weights = [math.exp(-(offset**2) / (2.0 * _SSIM_SIGMA**2)) for offset in offsets]
    window = [weight / sum(weights) for weight in weights]
    height, width = original.shape[2:]
    rows, columns = (_mirrored(side).to(original.device) for side in (height, width))
    step, images = rows_of_strips(original), range(len(original))
    together = [slice(i, i + 1) for i in images] if original.is_cpu else [slice(None)]
    means: list[float] = []
    for part in together:
        sums = []
        for first in range(0, height, step):
            strip = rows[first : first + step + 2 * _SSIM_RADIUS]
            here, there = (_floats(each[part, :, strip]) for each in (original, changed))
            moments = [here, there, here * here + there * there, here * there]
            filtered = _weighted(torch.stack(moments), window, dim=3)
            filtered = _weighted(filtered[..., columns], window, dim=4)
            sums.append(_ssim_of(*filtered).sum(dim=(1, 2, 3), dtype=torch.float64))
        means += (torch.stack(sums).sum(dim=0) / math.prod(original.shape[1:])).tolist()
    return means


def _ssim_of(
    first: torch.Tensor, second: torch.Tensor, squares: torch.Tensor, product: torch.Tensor
) -> torch.Tensor:
    """SSIM at every pixel, of weighted means: two images, their squares' sum, their product."""
    small, smaller = _SSIM_CONSTANTS
    means, powers = first * second, first * first + second * second
    alike = (2.0 * means + small) * (2.0 * (product - means) + smaller)
    return alike / ((powers + small) * (squares - powers + smaller))


def _weighted(images: torch.Tensor, window: Sequence[float], dim: int) -> torch.Tensor:
    """Sums of neighbours along a dimension, weighted by a symmetric window of odd length."""
    length, middle = images.shape[dim] - len(window) + 1, len(window) // 2
    total = images.narrow(dim, middle, length) * window[middle]
    for near in range(middle):
        far = len(window) - 1 - near
        pair = images.narrow(dim, near, length) + images.narrow(dim, far, length)
        total.add_(pair, alpha=window[near])
    return total


def _mirrored(side: int) -> torch.Tensor:
    """Places of ``side`` pixels and of those beyond both ends that a window reaches."""
    period = max(2 * (side - 1), 1)
    places = torch.arange(-_SSIM_RADIUS, side + _SSIM_RADIUS).remainder(period)
    return torch.minimum(places, (period - places).remainder(period))


def _floats(images: torch.Tensor) -> torch.Tensor:
    return images if images.is_floating_point() else from_levels(images)


def _check_shapes(original: torch.Tensor, changed: torch.Tensor) -> None:
    if original.shape != changed.shape:
        # Shapes as their pixels have them, (H, W, 3).
        shapes = ((*images.shape[2:], images.shape[1]) for images in (original, changed))
        raise ShapeError("changed image", *shapes)
