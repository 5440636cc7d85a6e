"""SSIMULACRA2: how far a changed picture looks from its original, computed in strips of rows.

The metric is that of Sneyers, "SSIMULACRA 2" (https://github.com/cloudinary/ssimulacra2), in the
form of the Python package ``ssimulacra2`` 0.3.0 (BSD-3-Clause), from which the constants are. It
compares structure and edges at six scales in XYB, the colours of JPEG XL. By its authors, 90 is
visually lossless (a flicker test at 1:1 shows nothing), 85 nearly so (a flip test shows nothing),
70 high quality, and 100 an identical picture.
"""

import numpy as np
import torch
import torch.nn.functional as F

from activeindex.images.levels import Pixels, rows_of_strips, stack_levels

_SCALES, _SMALLEST = 6, 8
"""Scales, each half of the one before, and the shortest side that is still compared."""

_SIGMA, _RADIUS = 1.5, 5
_CONSTANT = 0.0009

_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.2434226892, 0.2047674442, 0.5518098665),
)
_BIAS = 0.003793073255
_ROOT = 1.0 / 3.0

# Of structure, new edges and lost edges, by their mean and by their 4-norm: a row for each scale of
# X, then of Y, then of B.
_WEIGHTS = (
    (0.0, 0.0007376606707, 0.0, 0.0, 0.0007793481683, 0.0),
    (
        0.0,
        0.000437115573,
        0.0,
        1.104172643,
        0.0006628483413,
        0.0001523163278,
    ),
    (0.0, 0.001640643746, 0.0, 1.842245552, 11.4411726, 0.0),
    (0.0007989109436, 0.0001768164381, 0.0, 1.878759498, 10.94906991, 0.0),
    (
        0.0007289346992,
        0.9677937081,
        0.0,
        0.0001400342429,
        0.9981766978,
        0.0003194975593,
    ),
    (0.0004550992114, 0.0, 0.0, 0.001364876616, 0.0, 0.0),
    (0.0, 0.0, 0.0, 7.466890328, 0.0, 17.44583398),
    (0.0006235601634, 0.0, 0.0, 6.683678146, 0.0003772440798, 1.027889938),
    (225.205153, 0.0, 0.0, 19.21323819, 0.001140152459, 0.001237755636),
    (176.393176, 0.0, 0.0, 24.43301, 0.2852080261, 0.0004485436924),
    (0.0, 0.0, 0.0, 34.77906344, 44.83562533, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0008680556573, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0005313191874, 0.0, 0.0001653381416, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0004179171803, 0.001729082823, 0.0),
    (0.002082700585, 0.0, 0.0, 8.826982765, 23.19243344, 0.0),
    (
        95.10804988,
        0.9863978034,
        0.9834382792,
        0.001228640505,
        171.2667256,
        0.9807858872,
    ),
    (0.0, 0.0, 0.0, 0.0005130064589, 0.0, 0.0001085405786),
)


MOST_PIXELS = 1 << 20
"""Pixels that :func:`score` compares: a megapixel takes half a CPU second."""


def score(original: Pixels, changed: Pixels) -> float:
    """SSIMULACRA2 of two 8-bit RGB images ``(H, W, 3)``, of large ones at a smaller size.

    Pictures of more than a megapixel are shrunk before, by the mean over squares of the smallest
    whole side that is enough: as a viewer sees them who steps back to see all of the picture.
    """
    height, width = original.shape[:2]
    side = 1
    while (height // side) * (width // side) > MOST_PIXELS:
        side += 1
    return ssimulacra2(_shrunk(original, side), _shrunk(changed, side))


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    """The mean over squares; what is left over at the right and at the bottom is dropped."""
    if side == 1:
        return pixels
    height, width = (length // side for length in pixels.shape[:2])
    sums = np.zeros((height, width, 3), np.uint16)
    for row in range(side):
        for column in range(side):
            sums += pixels[row : height * side : side, column : width * side : side]
    return ((sums + side * side // 2) // (side * side)).astype(np.uint8)


def ssimulacra2(original: Pixels, changed: Pixels) -> float:
    """Compare two 8-bit RGB images ``(H, W, 3)``.

    Returns:
        The score, at most 100. Pictures with a side below 8 pixels are not compared: 100.

    Raises:
        ShapeError: If the shapes differ.

    Example:
        >>> flat = np.full((64, 64, 3), 128, np.uint8)
        >>> ssimulacra2(flat, flat)
        100.0
    """
    if np.array_equal(original, changed):
        return 100.0
    levels, table = stack_levels([original, changed]), _linear_levels()
    errors = []
    for scale in range(_SCALES):
        if min(levels.shape[2:]) < _SMALLEST:
            break
        found, levels = _compare(levels, None if scale else table)
        errors.append(found)
    return _score(torch.stack(errors, dim=1)) if errors else 100.0


def _compare(images: torch.Tensor, table: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors ``(3, 6)`` of the channels at a scale, and both images at the next scale.

    Args:
        images: Two images ``(2, 3, H, W)`` in linear light, or their levels.
        table: Linear light of each level.
    """
    height, width = images.shape[2:]
    places = torch.arange(-_RADIUS, height + _RADIUS)  # Mirrored beyond the first and last row.
    places = torch.where(places < 0, -places - 1, places)
    places = torch.where(places >= height, 2 * height - 1 - places, places)
    step = max(16, rows_of_strips(images) // 4 * 2)
    sums, halves = [], []
    for first in range(0, height, step):
        strip = images[:, :, places[first : first + step + 2 * _RADIUS]]
        linear = strip if table is None else table[strip.int()]
        inside = linear[:, :, _RADIUS:-_RADIUS]
        halves.append(F.avg_pool2d(inside, 2, ceil_mode=True, count_include_pad=False))
        errors = _errors(_xyb(linear))
        powers = torch.stack([errors, errors.square().square()])
        sums.append(powers.sum(dim=(3, 4), dtype=torch.float64))
    means = torch.stack(sums).sum(dim=0) / (height * width)
    means[1] = means[1].pow(0.25)
    return means.permute(2, 0, 1).reshape(3, 6), torch.cat(halves, dim=2)


def _linear_levels() -> torch.Tensor:
    """Linear light ``(256,)`` of sRGB's levels."""
    values = torch.arange(256, dtype=torch.float64) / 255.0
    curve = ((values + 0.055) / 1.055).pow(2.4)
    return torch.where(values <= 0.04045, values / 12.92, curve).float()


def _xyb(linear: torch.Tensor) -> torch.Tensor:
    """Convert linear RGB ``(B, 3, h, w)`` to XYB, moved to positive values as the metric does."""
    matrix = linear.new_tensor(_ABSORBANCE)[:, :, None, None]
    mixed = F.conv2d(linear, matrix, linear.new_full((3,), _BIAS)).clamp_(min=0.0)
    long, middle, short = mixed.pow_(_ROOT).sub_(_BIAS**_ROOT).unbind(dim=1)
    y = (long + middle) / 2.0
    return torch.stack([(long - middle) * 7.0 + 0.42, y + 0.01, short - y + 0.55], dim=1)


def _errors(images: torch.Tensor) -> torch.Tensor:
    """Errors of structure, new and lost edges ``(3, 3, h, w)`` of two images' strips of rows."""
    first, second = images
    squares, difference = first.square() + second.square(), (first - second).square()
    mean, other, squares, difference = _blurred(torch.stack([first, second, squares, difference]))
    # As 1 - (1 - (mean - other)^2) (2 covariance + C) / (sum of variances + C), but without
    # differences of nearly equal numbers: what is left of identical images is nothing.
    apart = (mean - other).square()
    variances = squares - mean.square() - other.square() + _CONSTANT
    structure = apart + (1.0 - apart) * (difference - apart) / variances
    inside = images[:, :, _RADIUS:-_RADIUS]
    edges, others = (inside - torch.stack([mean, other])).abs().add_(1.0)
    ratio = others / edges - 1.0
    return torch.stack([structure, ratio, -ratio]).clamp_(min=0.0)


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Blur images ``(n, 3, h, w)``; zero beside their columns, and without the rows at the ends."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / (2.0 * _SIGMA**2))
    weights = (window / window.sum()).tolist()
    padded = F.pad(images, (_RADIUS, _RADIUS, 0, 0))
    for dim in (2, 3):
        length = padded.shape[dim] - 2 * _RADIUS
        total = padded.narrow(dim, _RADIUS, length) * weights[_RADIUS]
        for near in range(_RADIUS):
            ends = (padded.narrow(dim, place, length) for place in (near, 2 * _RADIUS - near))
            total.add_(sum(ends), alpha=weights[near])
        padded = total
    return padded


def _score(errors: torch.Tensor) -> float:
    """Score of errors ``(3, scales, 6)``; with fewer scales, the weights that come first count."""
    weights = errors.new_tensor(_WEIGHTS).flatten()[: errors.numel()]
    total = 0.9562382616834844 * float((weights * errors.flatten()).sum())
    total = (
        2.326765642916932 * total
        - 0.020884521182843837 * total**2
        + 6.248496625763138e-05 * total**3
    )
    return 100.0 - 10.0 * float(max(total, 0.0) ** 0.6276336468)
