"""Random edits that let the gradient pass, of an image as the extractor sees it.

The distortion of an activated image has to work through edits that nobody knows yet. Its steps
therefore also follow the gradient through a few that are drawn at random (expectation over
transformation; Athalye et al., ICML 2018).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d

_Draw = Callable[[float, float], float]

_TURN = 45.0
"""Largest rotation in degrees."""
_CROPPED = (0.55, 0.9)
"""Side of a crop, as a share of the image's."""
_PASTED = (0.5, 1.0)
"""Sides of the image on a canvas, as a share of the canvas's."""
_LIGHT = (0.4, 2.2)
"""Factors of brightness and contrast."""
_BLUR = 2.0
"""Standard deviation in pixels."""


def edited_view(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An image after one edit at random.

    One of: a rotation whose corners stay inside, a quarter turn, a crop, the image on a white or
    coloured canvas, brightness, contrast, blur, a reflection; each is as likely as the others.

    Args:
        image: ``(1, 3, S, S)`` in [0, 1], or a little beyond.
        generator: The source of randomness, on the CPU.

    Returns:
        ``(1, 3, S, S)``, differentiable.
    """

    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    kind = int(torch.randint(len(_KINDS), (), generator=generator))
    return _KINDS[kind](image, draw)


def _turned(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    angle = math.radians(draw(-_TURN, _TURN))
    cos, sin = math.cos(angle), math.sin(angle)
    wide = abs(cos) + abs(sin)
    return _sampled(image, ((wide * cos, -wide * sin), (wide * sin, wide * cos)), (0.0, 0.0))


def _turned_by_quarters(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    return torch.rot90(image, min(1 + int(draw(0.0, 3.0)), 3), (2, 3))


def _cropped(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    side = draw(*_CROPPED)
    left, top = draw(side - 1.0, 1.0 - side), draw(side - 1.0, 1.0 - side)
    return _sampled(image, ((side, 0.0), (0.0, side)), (left, top))


def _pasted(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    width, height = 1.0 / draw(*_PASTED), 1.0 / draw(*_PASTED)
    place = draw(1.0 - width, width - 1.0), draw(1.0 - height, height - 1.0)
    maps = ((width, 0.0), (0.0, height))
    colour = [1.0] * 3 if draw(0.0, 1.0) < 0.5 else [draw(0.0, 1.0) for _ in range(3)]
    inside = _sampled(torch.ones_like(image[:, :1]), maps, place)
    canvas = image.new_tensor(colour).view(1, 3, 1, 1)
    return _sampled(image, maps, place) + (1.0 - inside) * canvas


def _brighter(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    return (image * draw(*_LIGHT)).clamp(0.0, 1.0)


def _with_contrast(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    mean = image.mean()
    return ((image - mean) * draw(*_LIGHT) + mean).clamp(0.0, 1.0)


def _blurred(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    return gaussian_blur2d(image, (11, 11), (_BLUR, _BLUR))


def _mirrored(image: torch.Tensor, draw: _Draw) -> torch.Tensor:
    return torch.flip(image, (3,))


_KINDS = (
    *(_turned, _turned_by_quarters, _cropped, _pasted),
    *(_brighter, _with_contrast, _blurred, _mirrored),
)


def _sampled(
    image: torch.Tensor,
    linear: tuple[tuple[float, float], tuple[float, float]],
    shift: tuple[float, float],
) -> torch.Tensor:
    """The image under an affine map from the view's coordinates to its own, black beyond it."""
    rows = [[*row, moved] for row, moved in zip(linear, shift, strict=True)]
    grid = F.affine_grid(image.new_tensor([rows]), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)
