"""Colour differences that are seen: CIEDE2000 after a blur, over regions of a picture."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from activeindex.images.levels import Pixels, from_levels, rows_of_strips, stack_levels

_SIGMA, _RADIUS = 1.5, 4
_REGION = 32
"""Side in pixels of the squares over which differences are averaged."""

# sRGB to XYZ, over the white point D65.
_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)


def worst_difference(original: Pixels, changed: Pixels) -> float:
    """Colour difference of the region that changed most.

    Both images are blurred by 1.5 pixels, as fine noise is not seen, and compared by CIEDE2000
    (Sharma et al., Color Research and Application, 2005). A difference of 1 is just noticeable
    where two flat colours touch.

    Args:
        original: Pixels ``(H, W, 3)``, sRGB.
        changed: Pixels of the same shape.

    Returns:
        The largest mean over a square of 32 pixels, on a grid of such squares.

    Raises:
        ShapeError: If the shapes differ.

    Example:
        >>> import numpy as np
        >>> grey = np.full((64, 64, 3), 128, np.uint8)
        >>> worst_difference(grey, grey)
        0.0
    """
    return max(float(means.max()) for means in _means_of_regions(stack_levels([original, changed])))


def _means_of_regions(levels: torch.Tensor) -> Iterator[torch.Tensor]:
    height = levels.shape[2]
    step = max(rows_of_strips(levels) // _REGION, 1) * _REGION
    for first in range(0, height, step):
        rows = torch.arange(first - _RADIUS, min(first + step, height) + _RADIUS)
        strip = from_levels(levels[:, :, rows.clamp(0, height - 1)])
        difference = ciede2000(*torch.split(to_lab(_blurred(strip)), 1))
        yield F.avg_pool2d(difference, _REGION, ceil_mode=True, count_include_pad=False)


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Blur images ``(B, 3, h, w)``, and drop the rows at both ends."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1)
    window = torch.exp(-(offsets**2) / (2.0 * _SIGMA**2))
    kernel = (window / window.sum()).expand(3, 1, -1)
    wide = F.pad(images, (_RADIUS, _RADIUS, 0, 0), mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel[..., None, :], groups=3), kernel[..., None], groups=3)


def to_lab(images: torch.Tensor) -> torch.Tensor:
    """Convert sRGB ``(B, 3, H, W)`` in [0, 1] to CIELAB, with the white point D65."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055).pow(2.4))
    xyz = F.conv2d(linear, linear.new_tensor(_XYZ)[:, :, None, None])
    cubic = xyz > (6.0 / 29.0) ** 3
    f = torch.where(cubic, xyz.clamp(min=1e-9).pow(1.0 / 3.0), xyz * (841.0 / 108.0) + 4.0 / 29.0)
    x, y, z = f.unbind(dim=1)
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def ciede2000(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """CIEDE2000 of CIELAB colours ``(B, 3, H, W)``, as ``(B, 1, H, W)``."""
    (light, a, b), (light_2, a_2, b_2) = (torch.split(each, 1, dim=1) for each in (first, second))
    lab_chroma = (torch.hypot(a, b) + torch.hypot(a_2, b_2)) / 2.0
    stretch = 1.5 - 0.5 * _saturation(lab_chroma)
    a, a_2 = a * stretch, a_2 * stretch
    chroma, chroma_2 = torch.hypot(a, b), torch.hypot(a_2, b_2)
    hue, hue_2 = (torch.atan2(y, x).remainder(2 * math.pi) for y, x in ((b, a), (b_2, a_2)))
    turn, grey = hue_2 - hue, chroma * chroma_2 == 0.0
    far = turn.abs() > math.pi
    around = torch.where(far, turn - 2.0 * math.pi * turn.sign(), turn)
    around = torch.where(grey, 0.0, around)
    mean_light, mean_chroma = (light + light_2) / 2.0, (chroma + chroma_2) / 2.0
    both = hue + hue_2
    half_turn = torch.where(both < 2.0 * math.pi, math.pi, -math.pi)
    mean_hue = torch.where(grey, both, both / 2.0 + torch.where(far, half_turn, 0.0))
    weight = (
        1.0
        - 0.17 * torch.cos(mean_hue - math.radians(30.0))
        + 0.24 * torch.cos(2.0 * mean_hue)
        + 0.32 * torch.cos(3.0 * mean_hue + math.radians(6.0))
        - 0.20 * torch.cos(4.0 * mean_hue - math.radians(63.0))
    )
    middle = (mean_light - 50.0).square()
    of_light = (light_2 - light) / (1.0 + 0.015 * middle / (20.0 + middle).sqrt())
    of_chroma = (chroma_2 - chroma) / (1.0 + 0.045 * mean_chroma)
    of_hue = 2.0 * (chroma * chroma_2).sqrt() * torch.sin(around / 2.0)
    of_hue = of_hue / (1.0 + 0.015 * mean_chroma * weight)
    blue = torch.exp(-((torch.rad2deg(mean_hue) - 275.0) / 25.0).square())
    rotation = -2.0 * _saturation(mean_chroma) * torch.sin(math.radians(60.0) * blue)
    squares = of_light.square() + of_chroma.square() + of_hue.square()
    total: torch.Tensor = squares + rotation * of_chroma * of_hue
    return total.clamp(min=0.0).sqrt()


def _saturation(chroma: torch.Tensor) -> torch.Tensor:
    power = (chroma / 25.0).pow(7)
    return (power / (power + 1.0)).sqrt()
