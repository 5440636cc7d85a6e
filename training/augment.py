"""Random augmentation of a batch on the training device.

It works on whole batches; each image has its own draws from one generator, which the caller seeds
per step, so that a resumed run gets the same views as an uninterrupted one.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from training import colours, geometry
from training.strength import Strength

_BLUR = (0.4, 2.5)
"""Standard deviations in pixels at 224 px."""
_NOISE = 0.08
_DETAIL = 1.25
"""A view is sampled from an image of at most this many times its side: sampling has no filter."""


def augment(
    pixels: torch.Tensor, size: int, strength: Strength, generator: torch.Generator
) -> torch.Tensor:
    """Make random views ``(B, 3, size, size)`` in [0, 1].

    Args:
        pixels: ``(B, 3, S, S)`` 8-bit RGB.
        size: Side of the views in pixels.
        strength: Strength of the augmentation.
        generator: On the device of ``pixels``; the only source of randomness.
    """
    images = pixels.float() / 255.0
    enough = round(_DETAIL * size)
    if pixels.shape[-1] > enough:
        images = F.interpolate(images, (enough, enough), mode="bilinear", antialias=True)
    views = geometry.sampled(images, size, strength, generator)
    views = geometry.overlaid(views, images, strength.overlaid, generator)
    views = colours.jittered(views, strength, generator)
    views = _on_share(views, strength.blurred, generator, _blurred)
    views = _on_share(views, strength.noisy, generator, _noisy)
    return views.clamp(0.0, 1.0)


def _chosen(count: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Choose a random ``share`` of ``count`` images; returns their numbers ``(n,)``."""
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order[: round(share * count)]


def _on_share(
    views: torch.Tensor,
    share: float,
    generator: torch.Generator,
    change: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
) -> torch.Tensor:
    rows = _chosen(len(views), share, generator)
    if not len(rows):
        return views
    return views.index_copy(0, rows, change(views[rows], generator))


def _blurred(views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur each image by a Gaussian of its own deviation.

    By matrix products: cuDNN takes half a minute, for each size, to choose a convolution with as
    many groups as there are images and channels.
    """
    count, _, size, _ = views.shape
    low, high = (deviation * size / 224 for deviation in _BLUR)
    draws = torch.rand(count, 1, 1, 1, generator=generator, device=views.device)
    deviations = low * (high / low) ** draws
    places = torch.arange(size, device=views.device)
    away = (places[:, None] - places) / deviations
    matrix = torch.softmax(-0.5 * away**2, dim=-1)
    return matrix @ views @ matrix.transpose(2, 3)


def _noisy(views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    device = views.device
    deviations = _NOISE * torch.rand(len(views), 1, 1, 1, generator=generator, device=device)
    noise = torch.randn(views.shape, generator=generator, device=device)
    return views + deviations * noise
