"""Random changes of colour, one affine map of colours for each image."""

import math

import torch

from training.strength import Strength

_LUMA = (0.299, 0.587, 0.114)
_YIQ = (_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""RGB to luma and two coordinates of colour, in whose plane the hue is an angle."""


def jittered(views: torch.Tensor, strength: Strength, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of ``(B, 3, H, W)`` at random."""
    count, device = len(views), views.device

    def factors() -> torch.Tensor:
        draws = torch.rand(count, generator=generator, device=device)
        return torch.exp((2 * draws - 1) * math.log1p(strength.jitter))

    brightness, contrast, saturation = factors(), factors(), factors()
    grey = torch.rand(count, generator=generator, device=device) < strength.grey
    saturation = saturation.masked_fill(grey, 0.0)
    draws = torch.rand(count, generator=generator, device=device)
    maps = _colour_maps(saturation, (2 * draws - 1) * math.radians(strength.hue))
    luma = torch.tensor(_LUMA, device=device)
    mean = torch.einsum("bchw,c->b", views, luma) / (views.shape[2] * views.shape[3])
    maps = maps * (brightness * contrast)[:, None, None]
    shift = brightness * (1 - contrast) * mean
    return torch.einsum("bdc,bchw->bdhw", maps, views) + shift[:, None, None, None]


def _colour_maps(saturation: torch.Tensor, hue: torch.Tensor) -> torch.Tensor:
    """Return maps ``(B, 3, 3)`` that turn the hue and scale the saturation."""
    forth = torch.tensor(_YIQ)
    to_yiq, to_rgb = forth.to(hue.device), torch.linalg.inv(forth).to(hue.device)
    turn = torch.zeros(len(hue), 3, 3, device=hue.device)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * hue.cos()
    turn[:, 2, 1] = saturation * hue.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    maps: torch.Tensor = to_rgb @ turn @ to_yiq
    return maps
