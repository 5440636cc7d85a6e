"""Rendering: from free tensors to the extractor's squares and to released files.

The optimisation knows squares alone; this module is the one place that goes from them to pictures
and back. A :class:`Renderer` shapes the free tensors of pictures of any sizes, adds them, lets the
pictures through their budget and codec as a reader of the files will see them, and brings them to
the extractor's size. Pictures of one size are stacked: nothing of one depends on those beside it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import torch

from activeindex.activation.budget import Amplitudes, Kept, Rows, kept, largest_amplitudes
from activeindex.activation.perceptual import (
    in_pixels,
    initial_distortion,
    jnd_map,
    shape_distortion,
)
from activeindex.activation.settings import ActivationSettings, ReleaseSettings
from activeindex.errors import InputError
from activeindex.images.encoding import decode, encode
from activeindex.images.levels import Pixels, from_levels, resize_square, stack_levels, to_levels
from activeindex.images.picture import Picture
from activeindex.images.quality import (
    Quality,
    measure_qualities,
    measure_quality,
    psnr,
    ssim,
    ssims,
)
from activeindex.runtime.parallel import Mapper, one_by_one

_Value = TypeVar("_Value")

_SMALLEST = 1e-3
"""Smallest amplitude the optimiser can recover from."""


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
        attainable: Whether that budget leaves anything to a distortion.
        lost_error: Mean squared error that the codec alone makes.
        lost_similarity: Loss of SSIM by the codec alone.
    """

    picture: Picture
    release: ReleaseSettings
    attainable: bool = True
    lost_error: float = 0.0
    lost_similarity: float = 0.0

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
        original = picture.pixels
        untouched = decode(encode(picture, picture.layer, release.format))
        if budget.beyond_codec:
            budget = budget.beyond(measure_quality(original, untouched))
        attainable = kept([budget], stack_levels([original]), stack_levels([untouched]))
        return cls(
            picture,
            replace(release, budget=budget),
            bool(attainable[0]),
            0.0 if budget.psnr is None else 10.0 ** (-psnr(original, untouched) / 10.0),
            0.0 if budget.ssim is None else 1.0 - ssim(original, untouched),
        )

    @property
    def exact(self) -> bool:
        """True if readers of the file see the encoded colours, apart from opacity."""
        return self.release.format.lossless and self.picture.is_srgb

    @property
    def error_left(self) -> float:
        """Mean squared error that the bound on PSNR leaves to a distortion."""
        bound = self.release.budget.psnr
        return math.inf if bound is None else float(10.0 ** (-bound / 10.0)) - self.lost_error

    @property
    def dissimilarity_left(self) -> float:
        """Loss of SSIM that its bound leaves to a distortion."""
        bound = self.release.budget.ssim
        return math.inf if bound is None else 1.0 - bound - self.lost_similarity

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


class Stack:
    """Originals of one size under distortions, as readers of their files see them.

    Args:
        originals: Of one size, with the same format and open bounds, all or none ``exact``.
        device: Where distortions are.
        each: Maps functions over pictures.

    Attributes:
        original: The originals, composed on white, ``(B, 3, H, W)`` in [0, 1].
        amplitude: How much of the distortions the budget allows, ``(B, 1, 1, 1)``, at most 1; as
            of the last call.
    """

    def __init__(
        self,
        originals: Sequence[Original],
        device: torch.device | None = None,
        each: Mapper = one_by_one,
    ) -> None:
        self._originals, self._each = tuple(originals), each
        pictures, budget = [each.picture for each in originals], originals[0].release.budget
        self._exact = originals[0].exact
        self.original = from_levels(stack_levels([each.pixels for each in pictures], device))
        self._layer, self._opacity = self.original, None
        if any(picture.pixels is not picture.layer for picture in pictures):
            # Distortions are added to the colours in their own space.
            self._layer = from_levels(stack_levels([each.layer for each in pictures], device))
        if any(picture.alpha is not None for picture in pictures):
            # They are seen through the opacity.
            opacity = [
                np.full(each.layer.shape[:2], 255, np.uint8) if each.alpha is None else each.alpha
                for each in pictures
            ]
            levels = torch.from_numpy(np.stack(opacity).astype(np.float32) / 255.0)
            self._opacity = levels.unsqueeze(1).to(device)
        self._grey = self._linf = self._error = self._dissimilarity = None
        if any(picture.grey for picture in pictures):
            self._grey = self._column(picture.grey for picture in pictures) > 0
        if budget.linf is not None:
            bounds = (each.release.budget.linf or 0 for each in originals)
            self._linf = self._column(bound / 255.0 for bound in bounds)
        if budget.psnr is not None:
            self._error = self._column(each.error_left for each in originals)
        if budget.ssim is not None:
            self._dissimilarity = self._column(each.dissimilarity_left for each in originals)
        self._lost = self._column(each.lost_error for each in originals)
        self.amplitude = torch.ones_like(self._lost)
        self._survives = torch.ones_like(self._lost)  # Of the distortion's energy, in the codec.

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        """Distort the pictures as far as the budget allows: ``(B, 3, H, W)``.

        They go through a lossy codec and the conversion to sRGB, and the gradient passes both
        unchanged; without either they are neither clamped nor rounded.

        Args:
            distortion: ``(B, 3, H, W)`` in pixel units, where 1 is the whole range.
        """
        confined = self._confined(distortion)
        changing = confined
        if self._error is not None or self._dissimilarity is not None:
            self.amplitude = self._allowed(confined.detach())
            # The gradient knows that a budget that binds fixes the distortion's energy.
            energy = _mean_square(confined)
            energy = energy.clamp(min=1e-30)  # 0 over 0 has no gradient.
            fixed = (energy.detach() / energy).sqrt()
            binds = self.amplitude < 1.0
            changing = confined * torch.where(binds, self.amplitude * fixed, self.amplitude)
        changed = self._through_opacity(self._bounded(changing))
        shown = self.original + changed
        if self._exact:
            return shown
        rows = np.arange(len(self._originals))
        layers = self._layers(rows, self.amplitude * confined.detach())
        decoded = from_levels(self._read(rows, layers))
        self._learn(decoded, changed.detach())
        return shown + (decoded - shown.detach())

    def write(self, distortion: torch.Tensor) -> list[ReleasedFile]:
        """Write the files with as much of the distortions as the budget allows.

        Where the codec alone breaks the budget, the original is encoded.

        Args:
            distortion: ``(B, 3, H, W)`` in pixel units, where 1 is the whole range.
        """
        with torch.no_grad():
            confined, original = self._confined(distortion), to_levels(self.original)

            def changed(rows: Rows, amplitudes: Amplitudes) -> torch.Tensor:
                scales = self._column(amplitudes)
                return self._layers(rows, scales * confined[torch.from_numpy(rows)])

            def keep(rows: Rows, amplitudes: Amplitudes) -> Kept:
                seen = self._read(rows, changed(rows, amplitudes))
                budgets = [self._originals[row].release.budget for row in rows]
                return kept(budgets, original[torch.from_numpy(rows)], seen)

            attainable = np.array([each.attainable for each in self._originals])
            amplitudes = attainable.astype(np.float64)
            if self._originals[0].release.budget:
                guesses = self.amplitude.flatten().tolist()
                amplitudes = largest_amplitudes(keep, attainable, guesses)
            layers = _as_pixels(changed(np.arange(len(amplitudes)), amplitudes))
            data = self._each(Original.encoded, self._originals, layers)
            pixels = self._each(Original.read, self._originals, layers, data)
            qualities = measure_qualities(original, stack_levels(pixels, original.device))
        files = zip(data, pixels, qualities, attainable.tolist(), strict=True)
        return [ReleasedFile(*file) for file in files]

    def _column(self, values: Iterable[float]) -> torch.Tensor:
        """One value for each picture, ``(B, 1, 1, 1)``."""
        column = torch.tensor([float(value) for value in values], device=self.original.device)
        return column.view(-1, 1, 1, 1)

    def _confined(self, distortion: torch.Tensor) -> torch.Tensor:
        """Take the colours out of distortions ``(B, 3, H, W)`` of grey pictures."""
        if self._grey is None:
            return distortion
        return torch.where(self._grey, distortion.mean(dim=1, keepdim=True), distortion)

    def _bounded(self, distortion: torch.Tensor) -> torch.Tensor:
        """Cut at the largest change; the gradient passes, so that a value can come back."""
        largest = self._linf
        if largest is None:
            return distortion
        return distortion + (distortion.clamp(-largest, largest) - distortion).detach()

    def _through_opacity(self, distortion: torch.Tensor) -> torch.Tensor:
        return distortion if self._opacity is None else distortion * self._opacity

    def _allowed(self, distortion: torch.Tensor) -> torch.Tensor:
        """Estimate how much of the distortions the budget allows, at most 1."""
        allowed = torch.ones_like(self.amplitude)
        change = self._through_opacity(distortion)
        if self._error is not None:
            spent = self._survives * _mean_square(change)
            allowed = torch.minimum(allowed, _root_of_ratio(self._error, spent))
        if self._dissimilarity is not None:
            # Nearly proportional to the square of the amplitude around where it was measured.
            shown = (self.original + self.amplitude * change).clamp(0.0, 1.0)
            spent = self._column(1.0 - each for each in ssims(self.original, shown))
            ratio = _root_of_ratio(self._dissimilarity, spent)
            allowed = torch.minimum(allowed, self.amplitude * ratio)
        return allowed.clamp(min=_SMALLEST)

    def _learn(self, decoded: torch.Tensor, change: torch.Tensor) -> None:
        """Estimate how much of a distortion's energy survives the codec."""
        put_in = _mean_square(change)
        came_out = _mean_square(decoded - self.original) - self._lost
        survives = (came_out / put_in.clamp(min=1e-30)).clamp(0.1, 2.0)
        self._survives = torch.where(put_in > 1e-3 * self._lost, survives, self._survives)

    def _layers(self, rows: Rows, distortion: torch.Tensor) -> torch.Tensor:
        """Levels of the colours of some pictures under distortions, both ``(b, 3, H, W)``."""
        picked = torch.from_numpy(rows)
        change = distortion
        if self._linf is not None:
            change = change.clamp(-self._linf[picked], self._linf[picked])
        if self._opacity is not None:
            change = change * (self._opacity[picked] > 0)  # Hidden colours stay.
        return to_levels(self._layer[picked] + change)

    def _read(self, rows: Rows, layers: torch.Tensor) -> torch.Tensor:
        """Levels that readers see of some pictures' colours, both ``(b, 3, H, W)``."""
        if self._exact and self._opacity is None:
            return layers
        chosen = [self._originals[row] for row in rows]
        return stack_levels(self._each(Original.seen, chosen, _as_pixels(layers)), layers.device)


class Renderer:
    """Pictures of any sizes under free tensors, one stack for each size.

    Args:
        originals: The pictures.
        generators: Draw the free tensors at the start, one generator for each picture.
        settings: How a free tensor becomes a distortion.
        size: Side in pixels of the squares.
        device: Where they are.
        each: Maps functions over pictures.

    Attributes:
        free: The tensors to optimise, ``(b, 3, H, W)`` for each size.
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
        self._settings, self._size = settings, size
        rows_of: dict[tuple[object, ...], list[int]] = {}
        for row, original in enumerate(originals):
            key = (original.picture.layer.shape, original.exact)
            rows_of.setdefault(key, []).append(row)
        self._rows = list(rows_of.values())
        alike = [[originals[row] for row in rows] for rows in self._rows]
        self._stacks = [Stack(stacked, device, each) for stacked in alike]
        self.free: list[torch.Tensor] = []
        for rows, stack in zip(self._rows, self._stacks, strict=True):
            shapes = [stack.original[:1].shape] * len(rows)
            starts = each(initial_distortion, shapes, [generators[row] for row in rows])
            self.free.append(torch.cat(starts).to(device).requires_grad_())
        self._jnds = [
            jnd_map(stack.original) if settings.use_attenuation else stack.original[:, :1]
            for stack in self._stacks
        ]

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Render the squares ``(B, 3, S, S)`` and the image losses ``(B,)``.

        The image loss is the mean squared distortion in normalised space.
        """
        squares, losses = [], []
        for stack, distortion in zip(self._stacks, self._distortions(), strict=True):
            squares.append(resize_square(stack(in_pixels(distortion)), self._size))
            losses.append(distortion.square().mean(dim=(1, 2, 3)))
        return self._in_order(squares), self._in_order(losses)

    def write(self) -> list[ReleasedFile]:
        """Write the files of the pictures, within their budget.

        Raises:
            InputError: If a distortion is not finite.
        """
        with torch.no_grad():
            distortions = self._distortions()
            if not all(bool(each.isfinite().all()) for each in distortions):
                raise InputError(
                    "loss_f, optimizer: expected steps to finite distortions, found NaN or "
                    "infinity; a loss of your own needs a gradient at its minimum, too"
                )
            pairs = zip(self._stacks, distortions, strict=True)
            files = [stack.write(in_pixels(distortion)) for stack, distortion in pairs]
        rows = [row for rows in self._rows for row in rows]
        written = dict(zip(rows, [file for stack in files for file in stack], strict=True))
        return [written[row] for row in range(len(rows))]

    def _distortions(self) -> list[torch.Tensor]:
        pairs = zip(self.free, self._jnds, strict=True)
        return [shape_distortion(free, jnd, self._settings) for free, jnd in pairs]

    def _in_order(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Rows of stacks in the order of the pictures."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts)[np.argsort(np.concatenate(self._rows))]


def _as_pixels(levels: torch.Tensor) -> list[Pixels]:
    """Levels ``(B, 3, H, W)`` as pixels ``(H, W, 3)``."""
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _mean_square(images: torch.Tensor) -> torch.Tensor:
    return images.square().mean(dim=(1, 2, 3), keepdim=True)


def _root_of_ratio(left: torch.Tensor, spent: torch.Tensor) -> torch.Tensor:
    """Infinite where nothing is spent."""
    ratio = left.clamp(min=0.0) / spent.clamp(min=1e-30)
    return torch.where(spent > 0.0, ratio.sqrt(), torch.inf)
