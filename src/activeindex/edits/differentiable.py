"""Edits that let the gradient pass, of an image as the extractor sees it.

What is done for an image has to work through edits that nobody knows yet. So the steps of its
activation follow the gradient through a few that are drawn at random (expectation over
transformation; Athalye et al., ICML 2018), and its code can be that of the mean feature over some.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from activeindex.errors import InputError

_Draw = Callable[[float, float], float]
_Numbers = tuple[float, ...]

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


def edited_views(images: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Images after one edit at random each.

    One of: a rotation whose corners stay inside, a quarter turn, a crop, the image on a white or
    coloured canvas, brightness, contrast, blur, a reflection; each is as likely as the others.

    Args:
        images: ``(B, 3, S, S)`` in [0, 1], or a little beyond.
        generators: The sources of randomness, on the CPU, one for each image.

    Returns:
        ``(B, 3, S, S)``, differentiable. No view depends on the images beside it.
    """
    drawn = [_drawn(generator) for generator in generators]
    rows, views = [], []
    for kind, (_, edit) in enumerate(_KINDS):
        those = [row for row, (chosen, _) in enumerate(drawn) if chosen == kind]
        if those:  # The edits of a kind are made together: a GPU takes as long for one as for all.
            rows += those
            views.append(edit(images[those], [drawn[row][1] for row in those]))
    return torch.cat(views)[np.argsort(rows)]


def image_generator(seed: int, number: int) -> torch.Generator:
    """The source of randomness of one image, whatever lies beside it.

    Args:
        seed: Of all images.
        number: Of the image.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def check_fixed_views(option: str, count: int) -> None:
    """Checks a number of fixed views.

    Raises:
        InputError: Naming the option, if it is out of range.
    """
    if not 0 <= count <= len(_FIXED):
        raise InputError(f"{option}: expected 0 to {len(_FIXED)}, found {count}")


def fixed_views(images: torch.Tensor, count: int) -> list[torch.Tensor]:
    """Images after edits that are the same for every image.

    Args:
        images: ``(B, 3, S, S)`` in [0, 1].
        count: How many edits, 16 at most.

    Returns:
        ``(B, 3, S, S)`` for each edit. The first views of many are those of fewer.
    """
    return [edit(images, [numbers] * len(images)) for edit, numbers in _FIXED[:count]]


def _drawn(generator: torch.Generator) -> tuple[int, _Numbers]:
    """A kind of edit, and its numbers."""

    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    kind = int(torch.randint(len(_KINDS), (), generator=generator))
    return kind, _KINDS[kind][0](draw)


def _a_turn(draw: _Draw) -> _Numbers:
    return (math.radians(draw(-_TURN, _TURN)),)


def _turned(images: torch.Tensor, turns: Sequence[_Numbers]) -> torch.Tensor:
    maps = []
    for (angle,) in turns:
        cos, sin = math.cos(angle), math.sin(angle)
        wide = abs(cos) + abs(sin)
        maps.append(((wide * cos, -wide * sin, 0.0), (wide * sin, wide * cos, 0.0)))
    return _sampled(images, maps)


def _quarters(draw: _Draw) -> _Numbers:
    return (min(1 + int(draw(0.0, 3.0)), 3),)


def _turned_by_quarters(images: torch.Tensor, turns: Sequence[_Numbers]) -> torch.Tensor:
    pairs = zip(images, turns, strict=True)
    return torch.stack([torch.rot90(image, int(quarters), (1, 2)) for image, (quarters,) in pairs])


def _a_crop(draw: _Draw) -> _Numbers:
    side = draw(*_CROPPED)
    return side, draw(side - 1.0, 1.0 - side), draw(side - 1.0, 1.0 - side)


def _cropped(images: torch.Tensor, crops: Sequence[_Numbers]) -> torch.Tensor:
    return _sampled(images, [((side, 0.0, x), (0.0, side, y)) for side, x, y in crops])


def _a_canvas(draw: _Draw) -> _Numbers:
    width, height = 1.0 / draw(*_PASTED), 1.0 / draw(*_PASTED)
    place = draw(1.0 - width, width - 1.0), draw(1.0 - height, height - 1.0)
    colour = [1.0] * 3 if draw(0.0, 1.0) < 0.5 else [draw(0.0, 1.0) for _ in range(3)]
    return (width, height, *place, *colour)


def _pasted(images: torch.Tensor, canvases: Sequence[_Numbers]) -> torch.Tensor:
    maps = [((width, 0.0, x), (0.0, height, y)) for width, height, x, y, *_ in canvases]
    inside = _sampled(torch.ones_like(images[:, :1]), maps)
    colours = images.new_tensor([canvas[4:] for canvas in canvases]).view(-1, 3, 1, 1)
    return _sampled(images, maps) + (1.0 - inside) * colours


def _a_light(draw: _Draw) -> _Numbers:
    return (draw(*_LIGHT),)


def _brighter(images: torch.Tensor, lights: Sequence[_Numbers]) -> torch.Tensor:
    return (images * images.new_tensor(lights).view(-1, 1, 1, 1)).clamp(0.0, 1.0)


def _with_contrast(images: torch.Tensor, lights: Sequence[_Numbers]) -> torch.Tensor:
    means = torch.stack([image.mean() for image in images]).view(-1, 1, 1, 1)
    factors = images.new_tensor(lights).view(-1, 1, 1, 1)
    return ((images - means) * factors + means).clamp(0.0, 1.0)


def _nothing(draw: _Draw) -> _Numbers:
    return ()


def _blurred(images: torch.Tensor, nothing: Sequence[_Numbers]) -> torch.Tensor:
    from kornia.filters import gaussian_blur2d  # Half a second, for one edit of eight.

    return gaussian_blur2d(images, (11, 11), (_BLUR, _BLUR))


def _mirrored(images: torch.Tensor, nothing: Sequence[_Numbers]) -> torch.Tensor:
    return torch.flip(images, (3,))


_KINDS: tuple[
    tuple[
        Callable[[_Draw], _Numbers],
        Callable[[torch.Tensor, Sequence[_Numbers]], torch.Tensor],
    ],
    ...,
] = (
    (_a_turn, _turned),
    (_quarters, _turned_by_quarters),
    (_a_crop, _cropped),
    (_a_canvas, _pasted),
    (_a_light, _brighter),
    (_a_light, _with_contrast),
    (_nothing, _blurred),
    (_nothing, _mirrored),
)
"""What is drawn for an edit, and the edit."""

_FIXED: tuple[tuple[Callable[[torch.Tensor, Sequence[_Numbers]], torch.Tensor], _Numbers], ...] = (
    (_turned_by_quarters, (1,)),
    (_cropped, (0.75, 0.0, 0.0)),
    (_turned, (math.radians(30.0),)),
    (_pasted, (1.5, 1.5, 0.0, 0.0, 1.0, 1.0, 1.0)),
    (_brighter, (1.7,)),
    (_turned_by_quarters, (3,)),
    (_with_contrast, (1.7,)),
    (_turned, (math.radians(-30.0),)),
    (_cropped, (0.55, 0.0, 0.0)),
    (_turned_by_quarters, (2,)),
    (_with_contrast, (0.6,)),
    (_pasted, (1.0, 1.6, 0.0, 0.0, 1.0, 1.0, 1.0)),
    (_brighter, (0.6,)),
    (_mirrored, ()),
    (_blurred, ()),
    (_pasted, (2.0, 2.0, 0.3, -0.3, 0.3, 0.4, 0.5)),
)
"""Edits and their numbers; those that move features most come first."""


def _sampled(images: torch.Tensor, maps: Sequence[tuple[_Numbers, _Numbers]]) -> torch.Tensor:
    """Images under affine maps ``(2, 3)`` from the view's coordinates to its own, black beyond."""
    grid = F.affine_grid(images.new_tensor(maps), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
