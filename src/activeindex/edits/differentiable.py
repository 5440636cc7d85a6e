"""Differentiable edits of square images, as the extractor sees them.

Activation has to survive edits that nobody knows in advance. Its steps therefore follow the
gradient through edits drawn at random (expectation over transformation; Athalye et al., ICML
2018), and the code of an image can be that of its mean feature over fixed edits.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from activeindex.errors import InputError

_Uniform = Callable[[float, float], float]
_Parameters = tuple[float, ...]
_Edit = Callable[[torch.Tensor, Sequence[_Parameters]], torch.Tensor]
"""Edits images ``(B, 3, S, S)``, each with its own parameters."""

_LARGEST_ROTATION = 45.0
"""Degrees."""
_CROP_SIDES = (0.55, 0.9)
"""Side of a crop, as a share of the image's."""
_PASTED_SIDES = (0.5, 1.0)
"""Sides of the image on a canvas, as a share of the canvas's."""
_FACTORS = (0.4, 2.2)
"""Of brightness and contrast."""
_BLUR_SIGMA = 2.0
_BLUR_RADIUS = 5
"""Pixels."""


def edited_views(images: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Apply one random edit to each image, differentiably.

    One of: a rotation whose corners stay inside, a quarter turn, a crop, the image on a white or
    coloured canvas, brightness, contrast, blur, a reflection; all with equal probability.

    Args:
        images: ``(B, 3, S, S)`` in [0, 1], or a little beyond.
        generators: The sources of randomness, on the CPU, one for each image.

    Returns:
        ``(B, 3, S, S)``, differentiable. No view depends on the other images.
    """
    drawn = [_draw(generator) for generator in generators]
    rows, views = [], []
    for kind, (_, edit) in enumerate(_RANDOM):
        of_kind = [row for row, (chosen, _) in enumerate(drawn) if chosen == kind]
        if of_kind:  # One call for all edits of a kind: a GPU takes as long for one.
            rows += of_kind
            views.append(edit(images[of_kind], [drawn[row][1] for row in of_kind]))
    return torch.cat(views)[np.argsort(rows)]


def image_generator(seed: int, number: int) -> torch.Generator:
    """Make the random generator of one image, independent of all other images.

    Args:
        seed: Of all images.
        number: Of the image.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def check_fixed_views(option: str, count: int) -> None:
    """Check a number of fixed views.

    Raises:
        InputError: Naming the option, if it is out of range.
    """
    if not 0 <= count <= len(_FIXED):
        raise InputError(f"{option}: expected 0 to {len(_FIXED)}, found {count}")


def fixed_views(images: torch.Tensor, count: int) -> list[torch.Tensor]:
    """Apply edits that are the same for every image.

    Args:
        images: ``(B, 3, S, S)`` in [0, 1].
        count: Number of edits, 16 at most.

    Returns:
        ``(B, 3, S, S)`` for each edit; a smaller count gives the first of them.
    """
    return [edit(images, [parameters] * len(images)) for edit, parameters in _FIXED[:count]]


def _draw(generator: torch.Generator) -> tuple[int, _Parameters]:
    """Draw a kind of edit and its parameters."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    kind = int(torch.randint(len(_RANDOM), (), generator=generator))
    return kind, _RANDOM[kind][0](uniform)


def _draw_crop(uniform: _Uniform) -> _Parameters:
    side = uniform(*_CROP_SIDES)
    return side, uniform(side - 1.0, 1.0 - side), uniform(side - 1.0, 1.0 - side)


def _draw_canvas(uniform: _Uniform) -> _Parameters:
    width, height = 1.0 / uniform(*_PASTED_SIDES), 1.0 / uniform(*_PASTED_SIDES)
    place = uniform(1.0 - width, width - 1.0), uniform(1.0 - height, height - 1.0)
    colour = [1.0] * 3 if uniform(0.0, 1.0) < 0.5 else [uniform(0.0, 1.0) for _ in range(3)]
    return (width, height, *place, *colour)


def _draw_factor(uniform: _Uniform) -> _Parameters:
    return (uniform(*_FACTORS),)


def _draw_nothing(uniform: _Uniform) -> _Parameters:
    return ()


def _rotate(images: torch.Tensor, angles: Sequence[_Parameters]) -> torch.Tensor:
    maps = []
    for (angle,) in angles:
        cos, sin = math.cos(angle), math.sin(angle)
        wide = abs(cos) + abs(sin)
        maps.append(((wide * cos, -wide * sin, 0.0), (wide * sin, wide * cos, 0.0)))
    return _warp(images, maps)


def _turn_by_quarters(images: torch.Tensor, quarters: Sequence[_Parameters]) -> torch.Tensor:
    pairs = zip(images, quarters, strict=True)
    return torch.stack([torch.rot90(image, int(count), (1, 2)) for image, (count,) in pairs])


def _crop(images: torch.Tensor, crops: Sequence[_Parameters]) -> torch.Tensor:
    return _warp(images, [((side, 0.0, x), (0.0, side, y)) for side, x, y in crops])


def _paste(images: torch.Tensor, canvases: Sequence[_Parameters]) -> torch.Tensor:
    maps = [((width, 0.0, x), (0.0, height, y)) for width, height, x, y, *_ in canvases]
    inside = _warp(torch.ones_like(images[:, :1]), maps)
    colours = images.new_tensor([canvas[4:] for canvas in canvases]).view(-1, 3, 1, 1)
    return _warp(images, maps) + (1.0 - inside) * colours


def _brighten(images: torch.Tensor, factors: Sequence[_Parameters]) -> torch.Tensor:
    return (images * images.new_tensor(factors).view(-1, 1, 1, 1)).clamp(0.0, 1.0)


def _change_contrast(images: torch.Tensor, factors: Sequence[_Parameters]) -> torch.Tensor:
    means = torch.stack([image.mean() for image in images]).view(-1, 1, 1, 1)
    return ((images - means) * images.new_tensor(factors).view(-1, 1, 1, 1) + means).clamp(0.0, 1.0)


def _blur(images: torch.Tensor, nothing: Sequence[_Parameters]) -> torch.Tensor:
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=images.device)
    weights = torch.exp(-offsets.square() / (2.0 * _BLUR_SIGMA**2))
    rows = (weights / weights.sum()).expand(images.shape[1], 1, 1, -1)
    blurred = F.pad(images, [_BLUR_RADIUS] * 4, mode="reflect")
    blurred = F.conv2d(blurred, rows, groups=len(rows))
    return F.conv2d(blurred, rows.transpose(2, 3), groups=len(rows))


def _mirror(images: torch.Tensor, nothing: Sequence[_Parameters]) -> torch.Tensor:
    return torch.flip(images, (3,))


_RANDOM: tuple[tuple[Callable[[_Uniform], _Parameters], _Edit], ...] = (
    (lambda uniform: (math.radians(uniform(-_LARGEST_ROTATION, _LARGEST_ROTATION)),), _rotate),
    (lambda uniform: (min(1 + int(uniform(0.0, 3.0)), 3),), _turn_by_quarters),
    (_draw_crop, _crop),
    (_draw_canvas, _paste),
    (_draw_factor, _brighten),
    (_draw_factor, _change_contrast),
    (_draw_nothing, _blur),
    (_draw_nothing, _mirror),
)
"""The draw of an edit's parameters, and the edit."""

_FIXED: tuple[tuple[_Edit, _Parameters], ...] = (
    (_turn_by_quarters, (1,)),
    (_crop, (0.75, 0.0, 0.0)),
    (_rotate, (math.radians(30.0),)),
    (_paste, (1.5, 1.5, 0.0, 0.0, 1.0, 1.0, 1.0)),
    (_brighten, (1.7,)),
    (_turn_by_quarters, (3,)),
    (_change_contrast, (1.7,)),
    (_rotate, (math.radians(-30.0),)),
    (_crop, (0.55, 0.0, 0.0)),
    (_turn_by_quarters, (2,)),
    (_change_contrast, (0.6,)),
    (_paste, (1.0, 1.6, 0.0, 0.0, 1.0, 1.0, 1.0)),
    (_brighten, (0.6,)),
    (_mirror, ()),
    (_blur, ()),
    (_paste, (2.0, 2.0, 0.3, -0.3, 0.3, 0.4, 0.5)),
)
"""Edits with their parameters; those that move features most come first."""


def _warp(images: torch.Tensor, maps: Sequence[tuple[_Parameters, _Parameters]]) -> torch.Tensor:
    """Sample images under affine maps ``(2, 3)`` from output to input coordinates, black beyond."""
    grid = F.affine_grid(images.new_tensor(maps), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
