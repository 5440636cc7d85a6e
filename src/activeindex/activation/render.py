"""Rendering: from free tensors to the extractor's squares and to released files.

The optimisation knows squares alone; this module is the one place that goes from them to pictures
and back. A free tensor has the extractor's size, or that of its picture where the settings ask for
it or the picture is smaller. Whatever is done for every pixel of a picture is done in strips of
rows, which stay in a CPU's cache; no picture depends on those beside it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import torch

from activeindex.activation.budget import amplitude_of_score, largest_amplitude, spent
from activeindex.activation.perceptual import (
    in_pixels,
    initial_distortion,
    jnd_in_strips,
    mask_of,
    squash,
)
from activeindex.activation.settings import ActivationSettings, ReleaseSettings
from activeindex.errors import InputError
from activeindex.images.colours import worst_difference
from activeindex.images.encoding import decode, encode
from activeindex.images.levels import (
    Pixels,
    from_levels,
    resize_square,
    resized,
    resized_in_strips,
    rows_of_strips,
    stack_levels,
    to_levels,
)
from activeindex.images.picture import Picture
from activeindex.images.quality import Quality, measure_quality, psnr
from activeindex.images.ssimulacra2 import score as ssimulacra2
from activeindex.runtime.parallel import Mapper, one_by_one

_SMALLEST = 1e-3
"""Smallest amplitude the optimiser can recover from."""

_ROUNDING = 1.0 / 12.0 / 255.0**2
"""Mean squared error of rounding to 8 bits."""


@dataclass(frozen=True)
class ReleasedFile:
    """An encoded file.

    Attributes:
        data: Its bytes.
        pixels: What its reader sees, ``(H, W, 3)``.
        quality: Of ``pixels`` against those of the original.
        budget_met: Whether the budget is kept.
    """

    data: bytes
    pixels: Pixels
    quality: Quality
    budget_met: bool


@dataclass(frozen=True, eq=False)
class Original:
    """A picture to release, and the loss of its file format by itself.

    Attributes:
        picture: The picture, without opacity where the format has none.
        release: Format and budget of the file; the budget includes the codec's own loss.
        spent: Share of the budget that the codec spends by itself; more than 1 leaves nothing to a
            distortion.
        lost: Mean squared error that the codec alone makes.
    """

    picture: Picture
    release: ReleaseSettings
    spent: float = 0.0
    lost: float = 0.0

    @classmethod
    def of(cls, picture: Picture, release: ReleaseSettings) -> Self:
        """Encode a picture once, if its format is lossy, to see what is lost.

        Raises:
            UnencodableError: If the format cannot hold the picture.
        """
        budget = release.budget
        if not release.format.has_alpha and picture.alpha is not None:
            picture = picture.without_alpha()
        if not release.format.has_grey and picture.one_channel:
            picture = picture.in_srgb()
        if release.format.lossless or not budget:
            return cls(picture, release)
        untouched = decode(encode(picture, picture.layer, release.format))
        score = None if budget.ssimulacra2 is None else ssimulacra2(picture.pixels, untouched)
        if budget.beyond_codec:
            found = replace(measure_quality(picture.pixels, untouched), ssimulacra2=score)
            budget = budget.beyond(found)
        lost = 10.0 ** (-psnr(picture.pixels, untouched) / 10.0)
        release = replace(release, budget=budget)
        share = spent(budget, picture.pixels, untouched)
        if score is not None and score < (budget.ssimulacra2 or 0.0):
            share = math.inf
        return cls(picture, release, share, lost)

    @property
    def attainable(self) -> bool:
        """True if the codec leaves something of the budget."""
        return self.spent <= 1.0

    @property
    def error_left(self) -> float:
        """Mean squared error that the bound on PSNR leaves to a distortion."""
        bound = self.release.budget.psnr
        return math.inf if bound is None else float(10.0 ** (-bound / 10.0)) - self.lost

    @property
    def largest_change(self) -> float:
        """Bound on the change of a value in [0, 1]."""
        bound = self.release.budget.linf
        return math.inf if bound is None else bound / 255.0

    def encoded(self, layer: Pixels) -> bytes:
        """Encode other colours ``(H, W, 3)``."""
        return encode(self.picture, layer, self.release.format)

    def read(self, layer: Pixels, data: bytes) -> Pixels:
        """Read the file ``data`` of these colours, as pixels ``(H, W, 3)``.

        A lossless file is not decoded for that.
        """
        return self.picture.seen(layer) if self.release.format.lossless else decode(data)

    def seen(self, layer: Pixels) -> Pixels:
        """Encode other colours ``(H, W, 3)`` and read them, as pixels ``(H, W, 3)``."""
        return self.read(layer, b"" if self.release.format.lossless else self.encoded(layer))

    def released(self, layer: Pixels, score: float | None = None) -> ReleasedFile:
        """Write the file of other colours ``(H, W, 3)``, whose SSIMULACRA2 may be known."""
        data = self.encoded(layer)
        pixels = self.read(layer, data)
        quality, measure = measure_quality(self.picture.pixels, pixels), self.release.measure
        bounded = self.release.budget.ssimulacra2 is not None
        if score is None and (bounded or "ssimulacra2" in measure):
            score = ssimulacra2(self.picture.pixels, pixels)
        worst = worst_difference(self.picture.pixels, pixels) if "delta_e" in measure else None
        quality = replace(quality, ssimulacra2=score, delta_e=worst)
        return ReleasedFile(data, pixels, quality, self.attainable)


class Synthesis:
    """The distortion of a picture at its full size, strip by strip.

    Args:
        original: The picture.
        signal: Its distortion in pixel units before the mask, ``(1, 3, h, w)``, enlarged to the
            picture's size, and without colours where the picture has none.
        mask: By how much each pixel may change, ``(1, 1, H, W)``.
    """

    def __init__(self, original: Original, signal: torch.Tensor, mask: torch.Tensor) -> None:
        self._original, self._mask, picture = original, mask, original.picture
        if picture.grey:
            signal = signal.mean(dim=1, keepdim=True).expand_as(signal)
        self._layer = stack_levels([picture.layer], signal.device)
        self._alpha = None
        if picture.alpha is not None:
            self._alpha = torch.from_numpy(picture.alpha.copy()).to(signal.device)
        height, width = self._layer.shape[2:]
        self._wide = resized(signal, (signal.shape[2], width))
        # Bilinear between rows, as between columns.
        places = (torch.arange(height, device=signal.device) + 0.5) * (len(signal[0, 0]) / height)
        places = (places - 0.5).clamp(0.0, len(signal[0, 0]) - 1.0)
        self._above = places.long()
        self._below = (self._above + 1).clamp(max=len(signal[0, 0]) - 1)
        self._weight = (places - self._above).unsqueeze(1)

    def mean_square(self) -> float:
        """Mean square of the distortion as readers of the file see it."""
        sums = []
        for rows in self._strips():
            distortion = self._distortion(rows)
            if self._alpha is not None:
                distortion = distortion * (self._alpha[rows] / 255.0)
            sums.append(distortion.square_().sum(dtype=torch.float64))
        return float(torch.stack(sums).sum()) / self._layer.numel()

    def colours(self, amplitude: float) -> Pixels:
        """The distorted colours ``(H, W, 3)``."""
        height, width = self._layer.shape[2:]
        colours = torch.empty((height, width, 3), dtype=torch.uint8)
        largest = self._original.largest_change
        for rows in self._strips():
            change = self._distortion(rows).mul_(amplitude)
            if largest < math.inf:
                change.clamp_(-largest, largest)
            if self._alpha is not None:
                change *= self._alpha[rows] > 0  # Hidden colours stay.
            levels = to_levels(change.add_(from_levels(self._layer[:, :, rows])))
            colours[rows] = levels[0].permute(1, 2, 0)
        pixels: Pixels = colours.numpy()
        return pixels

    def _strips(self) -> Iterator[slice]:
        height, step = self._layer.shape[2], rows_of_strips(self._layer)
        return (slice(first, first + step) for first in range(0, height, step))

    def _distortion(self, rows: slice) -> torch.Tensor:
        above, below = (self._wide[:, :, places[rows]] for places in (self._above, self._below))
        return torch.lerp(above, below, self._weight[rows]).mul_(self._mask[:, :, rows])


class Renderer:
    """Pictures under free tensors.

    Args:
        originals: The pictures.
        generators: Draw the free tensors at the start, one generator for each picture.
        settings: How a free tensor becomes a distortion, and of which size it is.
        size: Side in pixels of the squares.
        device: Where they are.
        each: Maps functions over pictures.

    Attributes:
        free: The tensors to optimise, ``(b, 3, h, w)`` for each size.
    """

    def __init__(
        self,
        originals: Sequence[Original],
        generators: Sequence[torch.Generator],
        settings: ActivationSettings,
        size: int,
        device: torch.device | None = None,
        each: Mapper = one_by_one,
    ) -> None:
        self._originals, self._settings, self._size, self._each = originals, settings, size, each
        device = device or torch.device("cpu")
        self._masks = each(partial(_mask_of, settings=settings, device=device), originals)
        shapes = [self._free_size(original.picture) for original in originals]
        self._rows = [
            [row for row, other in enumerate(shapes) if other == shape]
            for shape in dict.fromkeys(shapes)
        ]
        starts = each(initial_distortion, [torch.Size((1, 3, *s)) for s in shapes], generators)
        small = each(_small_of, originals, self._masks, shapes)
        self.free = [tensor.to(device).requires_grad_() for tensor in self._stacked(starts)]
        parts = (self._stacked(part) for part in zip(*small, strict=True))
        self._small = list(zip(*parts, strict=True))

        def column(values: Iterable[float]) -> list[torch.Tensor]:
            return self._stacked([torch.full((1, 1, 1, 1), value).to(device) for value in values])

        self._grey = column(float(original.picture.grey) for original in originals)
        self._errors = column(original.error_left for original in originals)
        self._largest = column(original.largest_change for original in originals)

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Render the squares ``(B, 3, S, S)`` and the image losses ``(B,)``.

        The distortions are scaled to the bounds on PSNR and L-infinity; neither clamped nor rounded
        otherwise. The image loss is the mean squared distortion in normalised space.
        """
        squares, losses = [], []
        columns = (self._small, self._grey, self._errors, self._largest)
        for free, small, grey, error, largest in zip(self.free, *columns, strict=True):
            image, mask, opacity = small
            distortion = squash(free, self._settings) * mask
            losses.append(distortion.square().mean(dim=(1, 2, 3)))
            change = _within(_greyed(in_pixels(distortion), grey) * opacity, error, largest)
            squares.append(resize_square(image + change, self._size))
        order = np.argsort(np.concatenate(self._rows))
        return torch.cat(squares)[order], torch.cat(losses)[order]

    def write(self) -> list[ReleasedFile]:
        """Write the files of the pictures, with as much of the distortions as the budget allows.

        Raises:
            InputError: If a distortion is not finite.
        """
        found: dict[int, tuple[torch.Tensor, float]] = {}
        columns = (self.free, self._small, self._grey)
        for rows, free, (_, mask, opacity), grey in zip(self._rows, *columns, strict=True):
            signal = in_pixels(squash(free.detach(), self._settings))
            if not signal.isfinite().all():
                raise InputError(
                    "loss_f, optimizer: expected steps to finite distortions, found NaN or "
                    "infinity; a loss of your own needs a gradient at its minimum, too"
                )
            energies = (
                (_greyed(signal, grey) * mask * opacity).square().mean(dim=(1, 2, 3)).tolist()
            )
            found |= dict(
                zip(rows, zip(torch.split(signal, 1), energies, strict=True), strict=True)
            )
        signals, energies = zip(*(found[row] for row in range(len(found))), strict=True)
        return self._each(write, self._originals, signals, self._masks, energies)

    def _free_size(self, picture: Picture) -> tuple[int, int]:
        """Height and width of a picture's free tensor."""
        height, width = picture.layer.shape[:2]
        if self._settings.full_size or min(height, width) < self._size:
            return height, width
        return self._size, self._size

    def _stacked(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Tensors ``(1, ...)`` of all pictures as a stack for each size of free tensors."""
        return [torch.cat([tensors[row] for row in rows]) for rows in self._rows]


def write(
    original: Original, signal: torch.Tensor, mask: torch.Tensor, energy: float
) -> ReleasedFile:
    """Write the file of a picture with as much of its distortion as the budget allows.

    Args:
        original: The picture; where its codec alone breaks the budget, it is only encoded.
        signal: See :class:`Synthesis`.
        mask: Likewise.
        energy: Mean square of the distortion that the optimisation saw. An enlarged one, which is
            smoother, gets as much.
    """
    budget, picture = original.release.budget, original.picture
    if not original.attainable:
        return original.released(picture.layer)
    with torch.no_grad():
        synthesis, whole = Synthesis(original, signal, mask), 1.0
        if signal.shape[2:] != mask.shape[2:]:
            whole = math.sqrt(energy / max(synthesis.mean_square(), 1e-30))
        if not budget:
            return original.released(synthesis.colours(whole))
        guess = 1.0
        if budget.psnr is not None:
            left = max(original.error_left - _ROUNDING, original.error_left / 4.0)
            guess = math.sqrt(left / max(energy, 1e-30))
        best = picture.layer

        def spent_at(amplitude: float) -> float:
            nonlocal best
            colours = synthesis.colours(amplitude * whole)
            share = spent(budget, picture.pixels, original.seen(colours))
            best = colours if share <= 1.0 else best
            return share

        largest = largest_amplitude(spent_at, guess, original.spent)
        if budget.ssimulacra2 is None or not largest:
            return original.released(best)
        scored: dict[float, tuple[Pixels, float]] = {}

        def score_at(amplitude: float) -> float:
            colours = best if amplitude == largest else synthesis.colours(amplitude * whole)
            seen, score = original.seen(colours), -math.inf
            if amplitude == largest or spent(budget, picture.pixels, seen) <= 1.0:
                score = ssimulacra2(picture.pixels, seen)
            scored[amplitude] = colours, score
            return score

        amplitude = amplitude_of_score(score_at, budget.ssimulacra2, largest)
        if not amplitude:
            return original.released(picture.layer)
        return original.released(*scored[amplitude])


def _mask_of(
    original: Original, settings: ActivationSettings, device: torch.device
) -> torch.Tensor:
    levels = stack_levels([original.picture.pixels], device)
    return mask_of(jnd_in_strips(levels, settings.mask), settings)


def _small_of(
    original: Original, mask: torch.Tensor, shape: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture, its mask and its opacity at the size of its free tensor."""
    picture = original.picture
    image = resized_in_strips(stack_levels([picture.pixels], mask.device), shape)
    opacity = torch.ones((1, 1, *shape), device=mask.device)
    if picture.alpha is not None:
        alpha = torch.from_numpy(picture.alpha / np.float32(255.0)).to(mask.device)
        opacity = resized(alpha[None, None], shape)
    return image, resized(mask, shape), opacity


def _greyed(changes: torch.Tensor, grey: torch.Tensor) -> torch.Tensor:
    """Take the colours out of changes ``(B, 3, H, W)`` where ``grey`` ``(B, 1, 1, 1)`` is not 0."""
    if not grey.any():
        return changes
    return torch.where(grey > 0, changes.mean(dim=1, keepdim=True), changes)


def _within(change: torch.Tensor, error: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Scale changes to a mean square, and cut them at the largest.

    The gradient knows that a bound on the mean square that binds fixes the distortion's energy. It
    passes the cut, so that a value can come back.
    """
    if error.isfinite().any():
        energy = change.square().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
        allowed = (error.clamp(min=0.0) / energy.detach()).sqrt().clamp(_SMALLEST, 1.0)
        fixed = (energy.detach() / energy).sqrt()
        change = change * torch.where(allowed < 1.0, allowed * fixed, allowed)
    if largest.isfinite().any():
        change = change + (change.clamp(-largest, largest) - change).detach()
    return change
