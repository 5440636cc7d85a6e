"""The way of images from distortions to the files that are released."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from activeindex.activation.budget import Amplitudes, Kept, Rows, kept, largest_amplitudes
from activeindex.activation.settings import ReleaseSettings
from activeindex.images.encoding import decode, encode
from activeindex.images.levels import Pixels, from_levels, stack_levels, to_levels
from activeindex.images.picture import Picture
from activeindex.images.quality import Quality, measure_qualities, measure_quality, psnr, ssim
from activeindex.runtime.parallel import Mapper, one_by_one


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


class Release:
    """The release of one picture.

    Args:
        picture: The original.
        settings: Format and budget.
        device: Where distortions are.

    Attributes:
        picture: The original, without opacity where the format has none.
        format: Of the file.
        budget: What the file keeps to, the codec's own loss included.
        original: What a reader of the original sees, ``(1, 3, H, W)`` in [0, 1].
        layer: Its colours, those of transparent pixels included, likewise.
        opacity: ``(1, 1, H, W)`` in [0, 1]; None where everything is opaque.
        attainable: Whether the budget leaves anything to a distortion after the codec's own loss.
        lost_error: Mean squared error that the codec alone makes.

    Raises:
        UnencodableError: If the format cannot hold the picture.
    """

    def __init__(self, picture: Picture, settings: ReleaseSettings, device: torch.device) -> None:
        if not settings.format.has_alpha and picture.alpha is not None:
            picture = picture.without_alpha()
        self.picture, self.format, self.budget = picture, settings.format, settings.budget
        self.original = self.layer = from_levels(stack_levels([picture.pixels], device))
        self.opacity: torch.Tensor | None = None
        if picture.alpha is not None:
            self.layer = from_levels(stack_levels([picture.layer], device))
            opacity = torch.from_numpy(picture.alpha.astype(np.float32) / 255.0)
            self.opacity = opacity.to(device).view(1, 1, *opacity.shape)
        self.attainable = True
        self.lost_error = self._lost_similarity = 0.0  # By the codec alone.
        if not settings.format.lossless:
            self._lose(decode(encode(picture, picture.layer, settings.format)))

    def _lose(self, untouched: Pixels) -> None:
        """Takes in what the codec does without a distortion."""
        original = self.picture.pixels
        if self.budget.beyond_codec:
            self.budget = self.budget.beyond(measure_quality(original, untouched))
        pair = stack_levels([original]), stack_levels([untouched])
        self.attainable = bool(kept([self.budget], *pair)[0])
        if self.budget.psnr is not None:
            self.lost_error = 10.0 ** (-psnr(original, untouched) / 10.0)
        if self.budget.ssim is not None:
            self._lost_similarity = 1.0 - ssim(original, untouched)

    @property
    def grey(self) -> bool:
        """Whether the picture has no colours, and gets none."""
        return self.picture.grey

    @property
    def error_left(self) -> float:
        """Mean squared error that the bound on PSNR leaves after the codec's loss."""
        if self.budget.psnr is None:
            return math.inf
        return float(10.0 ** (-self.budget.psnr / 10.0)) - self.lost_error

    @property
    def dissimilarity_left(self) -> float:
        """How far SSIM may fall by its bound after the codec's loss."""
        return (
            math.inf if self.budget.ssim is None else 1.0 - self.budget.ssim - self._lost_similarity
        )

    def encoded(self, layer: Pixels) -> bytes:
        """The file with other colours ``(H, W, 3)``."""
        return encode(self.picture, layer, self.format)

    def seen(self, layer: Pixels) -> Pixels:
        """What a reader of the file with other colours sees, both ``(H, W, 3)``."""
        return self.read(layer, b"" if self.format.lossless else self.encoded(layer))

    def read(self, layer: Pixels, data: bytes) -> Pixels:
        """What a reader sees of the file, ``data``, with these colours ``(H, W, 3)``.

        A lossless file is not decoded for that.
        """
        return self.picture.seen(layer) if self.format.lossless else decode(data)


class Releases:
    """Pictures of one size on their way to files; no file depends on those beside it.

    Args:
        releases: Of pictures of one size, with the same settings.
        each: Does what is done picture by picture.

    Attributes:
        lossless: Whether files give back the pixels that are put in.
        original: What readers of the originals see, ``(B, 3, H, W)`` in [0, 1].
        opacity: ``(B, 1, H, W)`` in [0, 1]; None where everything is opaque.
        linf: The largest change in pixel units, ``(B, 1, 1, 1)``; None if it is not bounded.
    """

    def __init__(self, releases: Sequence[Release], each: Mapper = one_by_one) -> None:
        self._releases, self._each = tuple(releases), each
        self.lossless = releases[0].format.lossless
        self.original = torch.cat([release.original for release in releases])
        self.opacity = self._grey = self.linf = None
        self._layer = self.original
        if any(release.opacity is not None for release in releases):
            opaque = torch.ones_like(self.original[:1, :1])
            known = [opaque if r.opacity is None else r.opacity for r in releases]
            self.opacity = torch.cat(known)
            self._layer = torch.cat([release.layer for release in releases])
        if any(release.grey for release in releases):
            self._grey = self.column([release.grey for release in releases]) > 0
        if releases[0].budget.linf is not None:
            self.linf = self.column([(r.budget.linf or 0) / 255.0 for r in releases])

    def column(self, values: Iterable[float]) -> torch.Tensor:
        """One value for each picture, ``(B, 1, 1, 1)``."""
        column = torch.tensor([float(value) for value in values], device=self.original.device)
        return column.view(-1, 1, 1, 1)

    def confined(self, distortion: torch.Tensor) -> torch.Tensor:
        """Distortions ``(B, 3, H, W)`` without colours for pictures that are grey."""
        if self._grey is None:
            return distortion
        return torch.where(self._grey, distortion.mean(dim=1, keepdim=True), distortion)

    def decoded(self, distortion: torch.Tensor) -> torch.Tensor:
        """What readers see of distortions in pixel units, both ``(B, 3, H, W)``."""
        rows = np.arange(len(self._releases))
        return from_levels(self._seen(rows, self._layers(rows, distortion)))

    def write(
        self, distortion: torch.Tensor, guesses: Sequence[float] | None = None
    ) -> list[ReleasedFile]:
        """Files with as much of the distortions as the budget allows.

        Where the codec alone breaks the budget, that is the original encoded.

        Args:
            distortion: ``(B, 3, H, W)`` in pixel units, where 1 is the whole range.
            guesses: About how much of each is allowed, if that is known: it is tried first.
        """
        with torch.no_grad():
            confined, original = self.confined(distortion), to_levels(self.original)

            def changed(rows: Rows, amplitudes: Amplitudes) -> torch.Tensor:
                scales = self.column(amplitudes)
                return self._layers(rows, scales * confined[torch.from_numpy(rows)])

            def keep(rows: Rows, amplitudes: Amplitudes) -> Kept:
                seen = self._seen(rows, changed(rows, amplitudes))
                budgets = [self._releases[row].budget for row in rows]
                return kept(budgets, original[torch.from_numpy(rows)], seen)

            attainable = np.array([release.attainable for release in self._releases])
            amplitudes = attainable.astype(np.float64)
            if self._releases[0].budget:
                amplitudes = largest_amplitudes(keep, attainable, guesses)
            layers = _as_pixels(changed(np.arange(len(amplitudes)), amplitudes))
            data = self._each(Release.encoded, self._releases, layers)
            pixels = self._each(Release.read, self._releases, layers, data)
            qualities = measure_qualities(original, stack_levels(pixels, original.device))
        files = zip(data, pixels, qualities, attainable.tolist(), strict=True)
        return [ReleasedFile(*file) for file in files]

    def _layers(self, rows: Rows, distortion: torch.Tensor) -> torch.Tensor:
        """The levels of the colours under distortions, both ``(b, 3, H, W)``, of some pictures."""
        picked = torch.from_numpy(rows)
        change = distortion
        if self.linf is not None:
            change = change.clamp(-self.linf[picked], self.linf[picked])
        if self.opacity is not None:
            change = change * (self.opacity[picked] > 0)  # What nobody sees keeps its colours.
        return to_levels(self._layer[picked] + change)

    def _seen(self, rows: Rows, layers: torch.Tensor) -> torch.Tensor:
        """What readers see of the levels of some pictures' colours, both ``(b, 3, H, W)``."""
        if self.lossless and self.opacity is None:
            return layers
        chosen = [self._releases[row] for row in rows]
        return stack_levels(self._each(Release.seen, chosen, _as_pixels(layers)), layers.device)


def _as_pixels(levels: torch.Tensor) -> list[Pixels]:
    """Levels ``(B, 3, H, W)`` as pixels ``(H, W, 3)``."""
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
