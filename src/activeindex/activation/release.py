"""The way of one image from a distortion to the file that is released."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from activeindex.activation.budget import NO_BUDGET, Budget
from activeindex.images import (
    PNG,
    FileFormat,
    Picture,
    Pixels,
    Quality,
    decode,
    encode,
    measure_quality,
    psnr,
    ssim,
    to_pixels,
    to_tensor,
)

_SEARCH_STEPS = 16
_PRECISION = 2e-3
"""Relative, of the distortion's amplitude: 0.02 dB."""


@dataclass(frozen=True)
class ReleaseSettings:
    """What is written of an activated image.

    Attributes:
        format: The file format.
        budget: What every file keeps to.
    """

    format: FileFormat = PNG
    budget: Budget = NO_BUDGET


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


@dataclass(frozen=True)
class _Candidate:
    layer: Pixels
    data: bytes | None
    pixels: Pixels
    keeps: bool


class Release:
    """The release of one picture: writes it with the largest distortion that the budget allows.

    Args:
        picture: The original.
        settings: Format and budget.
        device: Where distortions are.

    Attributes:
        format: Of the file.
        budget: What the file keeps to, the codec's own loss included.
        original: What a reader of the original sees, ``(1, 3, H, W)`` in [0, 1].
        opacity: ``(1, 1, H, W)`` in [0, 1]; None where everything is opaque.
        grey: Whether the picture has no colours, and gets none.
        lost_error: Mean squared error that the codec alone makes.

    Raises:
        UnencodableError: If the format cannot hold the picture.
    """

    def __init__(self, picture: Picture, settings: ReleaseSettings, device: torch.device) -> None:
        if not settings.format.has_alpha and picture.alpha is not None:
            picture = picture.without_alpha()
        self._picture, self.format, self.budget = picture, settings.format, NO_BUDGET
        self.grey = picture.grey
        self.original = to_tensor(picture.pixels).unsqueeze(0).to(device)
        self._layer = self.original
        self.opacity: torch.Tensor | None = None
        if picture.alpha is not None:
            self._layer = to_tensor(picture.layer).unsqueeze(0).to(device)
            opacity = torch.from_numpy(picture.alpha.astype(np.float32) / 255.0)
            self.opacity = opacity.to(device).view(1, 1, *opacity.shape)
        untouched = self._candidate(torch.zeros_like(self.original)).pixels
        self.budget = settings.budget
        if self.budget.beyond_codec and not settings.format.lossless:
            self.budget = self.budget.beyond(measure_quality(picture.pixels, untouched))
        self._untouched = self._candidate(torch.zeros_like(self.original))
        self.lost_error = self._lost_similarity = 0.0  # By the codec alone.
        if not settings.format.lossless:
            if self.budget.psnr is not None:
                self.lost_error = 10.0 ** (-psnr(picture.pixels, untouched) / 10.0)
            if self.budget.ssim is not None:
                self._lost_similarity = 1.0 - ssim(picture.pixels, untouched)

    @property
    def attainable(self) -> bool:
        """Whether the budget leaves anything to a distortion after the codec's own loss."""
        return self._untouched.keeps

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

    def decoded(self, distortion: torch.Tensor) -> torch.Tensor:
        """What a reader sees of a distortion in pixel units, both ``(1, 3, H, W)``."""
        pixels = self._candidate(distortion).pixels
        return to_tensor(pixels).unsqueeze(0).to(distortion.device)

    def write(self, distortion: torch.Tensor, amplitude: float = 1.0) -> ReleasedFile:
        """The file with as much of a distortion ``(1, 3, H, W)`` as the budget allows.

        Where the codec alone breaks the budget, that is the original encoded.

        Args:
            distortion: In pixel units, where 1 is the whole range.
            amplitude: About how much of it is allowed, if that is known: it is tried first.
        """
        with torch.no_grad():
            found = self._largest(self._confined(distortion), amplitude)
        data = found.data or encode(self._picture, found.layer, self.format)
        quality = measure_quality(self._picture.pixels, found.pixels, self.original.device)
        return ReleasedFile(data, found.pixels, quality, found.keeps)

    def _largest(self, distortion: torch.Tensor, guess: float) -> _Candidate:
        """Looks for the amplitude around a guess; what is returned was measured."""
        best = self._untouched
        if not self.attainable:
            return best
        whole = self._candidate(distortion)
        if whole.keeps:
            return whole
        low, high, amplitude, step = 0.0, 1.0, min(guess, 1.0 - _PRECISION), 2.0 * _PRECISION
        for _ in range(_SEARCH_STEPS):
            tried = self._candidate(amplitude * distortion)
            if tried.keeps:
                best, low = tried, amplitude
            else:
                high = amplitude
            if high - low < _PRECISION * high:
                break
            # Away from the guess in growing steps until it lies between, then by halves.
            near = amplitude * (1.0 + step if tried.keeps else 1.0 - step)
            amplitude = near if low < near < high else (low + high) / 2
            step *= 8.0
        return best

    def _candidate(self, distortion: torch.Tensor) -> _Candidate:
        layer = self._changed_layer(distortion)
        original = self._picture.pixels
        data = None
        if self.format.lossless:
            pixels = self._picture.seen(layer)
        else:
            data = encode(self._picture, layer, self.format)
            pixels = decode(data)
        return _Candidate(layer, data, pixels, self.budget.kept(original, pixels))

    def _changed_layer(self, distortion: torch.Tensor) -> Pixels:
        change = self._bounded(distortion)
        if self.opacity is not None:
            change = change * (self.opacity > 0)  # What nobody sees keeps its colours.
        return to_pixels((self._layer + change).squeeze(0))

    def _confined(self, distortion: torch.Tensor) -> torch.Tensor:
        """Grey pictures get no colours."""
        if self.grey:
            return distortion.mean(dim=1, keepdim=True).expand_as(distortion)
        return distortion

    def _bounded(self, distortion: torch.Tensor) -> torch.Tensor:
        if self.budget.linf is None:
            return distortion
        largest = self.budget.linf / 255.0
        return distortion.clamp(-largest, largest)
