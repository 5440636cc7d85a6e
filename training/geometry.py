"""Random crops, rotations and pastings by one homography for each image."""

import math

import torch
import torch.nn.functional as F

from training.strength import Strength

_PASTED = (0.35, 0.8)
"""Side of an image that is pasted into another, relative to the latter's."""
_OVERLAID = (0.2, 0.5)
"""Side of an image that is pasted onto a view, relative to the view's."""
_OPACITY = 0.5
"""Smallest opacity of an image that is pasted onto a view."""


def sampled(
    images: torch.Tensor, size: int, strength: Strength, generator: torch.Generator
) -> torch.Tensor:
    """Sample views ``(B, 3, size, size)`` of images ``(B, 3, S, S)``.

    Outside of the image, a view shows a colour or another image of the batch.
    """
    count, device = len(images), images.device

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, device=device)

    # From the view's coordinates in [-1, 1] to the image's: the extent that is seen, mirrored and
    # turned, moved to a random place within the image, tilted.
    side, aspect = draw(strength.area, 1.0).sqrt(), strength.aspect ** draw(-0.5, 0.5)
    pasted = draw(0.0, 1.0) < strength.pasted
    width = (side * aspect).clamp(max=1.0).where(~pasted, 1 / draw(*_PASTED))
    height = (side / aspect).clamp(max=1.0).where(~pasted, 1 / draw(*_PASTED))
    mirrored = 1 - 2 * (draw(0.0, 1.0) < strength.flipped).float()
    angle = draw(-1.0, 1.0) * math.radians(strength.degrees) * (draw(0.0, 1.0) < strength.turned)
    quarters = draw(1.0, 4.0).floor() * (draw(0.0, 1.0) < strength.quartered)
    angle = angle + quarters * (math.pi / 2)
    maps = torch.zeros(count, 3, 3, device=device)
    maps[:, 0, 0] = width * mirrored * angle.cos()
    maps[:, 0, 1] = -width * mirrored * angle.sin()
    maps[:, 1, 0] = height * angle.sin()
    maps[:, 1, 1] = height * angle.cos()
    maps[:, 0, 2] = draw(-1.0, 1.0) * (1 - width).abs()
    maps[:, 1, 2] = draw(-1.0, 1.0) * (1 - height).abs()
    tilted = torch.where(pasted, 0.0, 1.0)
    maps[:, 2, 0] = draw(-strength.tilt, strength.tilt) * tilted
    maps[:, 2, 1] = draw(-strength.tilt, strength.tilt) * tilted
    maps[:, 2, 2] = 1.0
    grid = _grid(maps, size)
    inside = (grid.abs() <= 1).all(dim=3).unsqueeze(1)
    around = torch.rand(count, 3, 1, 1, generator=generator, device=device)
    around = around.expand(-1, -1, size, size)
    if strength.pasted > 0:
        others = F.interpolate(images.roll(1, 0), (size, size), mode="bilinear", antialias=True)
        around = torch.where(pasted[:, None, None, None], others, around)
    return torch.where(inside, _sample(images, grid), around)


def overlaid(
    views: torch.Tensor, images: torch.Tensor, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Paste small, translucent images of the batch onto a share of the views.

    Args:
        views: ``(B, 3, H, H)``.
        images: ``(B, 3, S, S)``, those that the views are of.
        share: Of the views.
        generator: The source of randomness.
    """
    count, size, device = len(views), views.shape[-1], views.device
    rows = torch.randperm(count, generator=generator, device=device)[: round(share * count)]
    if not len(rows) or count < 3:
        return views

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(rows), generator=generator, device=device)

    width, height = 1 / draw(*_OVERLAID), 1 / draw(*_OVERLAID)
    maps = torch.zeros(len(rows), 3, 3, device=device)
    maps[:, 0, 0], maps[:, 1, 1], maps[:, 2, 2] = width, height, 1.0
    maps[:, 0, 2] = draw(-1.0, 1.0) * (width - 1)
    maps[:, 1, 2] = draw(-1.0, 1.0) * (height - 1)
    grid = _grid(maps, size)
    inside = (grid.abs() <= 1).all(dim=3).unsqueeze(1)
    opacity = draw(_OPACITY, 1.0)[:, None, None, None] * inside
    # Not the neighbour that an image may be pasted into already.
    others = _sample(images[(rows + 2) % count], grid)
    return views.index_copy(0, rows, torch.lerp(views[rows], others, opacity))


def _grid(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Map the pixels of a view by ``(B, 3, 3)`` to positions ``(B, size, size, 2)``."""
    places = (torch.arange(size, device=maps.device) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(places, places, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=2).reshape(-1, 3)
    seen = points @ maps.transpose(1, 2)
    return (seen[..., :2] / seen[..., 2:]).reshape(len(maps), size, size, 2)


def _sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
