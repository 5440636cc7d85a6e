"""The way of one image from a distortion to the file that is released.

During the optimisation a release shows what a reader of the file would see, with a gradient to
the distortion; after it, it writes the file with the largest distortion that the budget allows.
"""

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
    similarity,
    ssim,
    to_pixels,
    to_tensor,
)

_SEARCH_STEPS = 12
_PRECISION = 2e-3
"""Relative, of the distortion's amplitude: 0.02 dB."""
_SMALLEST = 1e-3
"""Amplitude from which the optimisation still finds back."""


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
    """The release of one picture.

    Args:
        picture: The original.
        settings: Format and budget.
        device: Where distortions are.

    Raises:
        UnencodableError: If the format cannot hold the picture.
    """

    def __init__(self, picture: Picture, settings: ReleaseSettings, device: torch.device) -> None:
        if not settings.format.has_alpha and picture.alpha is not None:
            picture = picture.without_alpha()
        self._picture, self._format, self._budget = picture, settings.format, NO_BUDGET
        self.original = to_tensor(picture.pixels).unsqueeze(0).to(device)
        self._layer = self.original
        self._opacity: torch.Tensor | None = None
        if picture.alpha is not None:
            self._layer = to_tensor(picture.layer).unsqueeze(0).to(device)
            opacity = torch.from_numpy(picture.alpha.astype(np.float32) / 255.0)
            self._opacity = opacity.to(device).view(1, 1, *opacity.shape)
        self._amplitude = 1.0
        self._survives = 1.0  # Of the distortion's energy, in the codec.
        untouched = self._candidate(torch.zeros_like(self.original)).pixels
        self._budget = settings.budget
        if self._budget.beyond_codec and not settings.format.lossless:
            self._budget = self._budget.beyond(measure_quality(picture.pixels, untouched))
        self._untouched = self._candidate(torch.zeros_like(self.original))
        self._lost_error = self._lost_similarity = 0.0  # By the codec alone.
        if not settings.format.lossless:
            if self._budget.psnr is not None:
                self._lost_error = 10.0 ** (-psnr(picture.pixels, untouched) / 10.0)
            if self._budget.ssim is not None:
                self._lost_similarity = 1.0 - ssim(picture.pixels, untouched)

    @property
    def attainable(self) -> bool:
        """Whether the budget leaves anything to a distortion after the codec's own loss."""
        return self._untouched.keeps

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        """What a reader would see ``(1, 3, H, W)``, for the optimisation.

        The image is distorted as far as the budget allows. It goes through the codec if that is
        lossy, which the gradient passes unchanged; otherwise it is neither clamped nor rounded.

        Args:
            distortion: ``(1, 3, H, W)`` in pixel units, where 1 is the whole range.
        """
        confined = self._confined(distortion)
        self._amplitude = self._allowed(confined.detach())
        if self._amplitude < 1.0:
            # The gradient knows that the budget fixes the distortion's energy.
            energy = confined.square().mean()
            confined = confined * (energy.detach() / energy).sqrt()
        changed = self._seen_change(self._bounded(self._amplitude * confined))
        shown = self.original + changed
        if self._format.lossless:
            return shown
        decoded = self._decoded(confined.detach())
        self._learn(decoded, changed.detach())
        return shown + (decoded - shown.detach())

    def write(self, distortion: torch.Tensor) -> ReleasedFile:
        """The file with as much of a distortion ``(1, 3, H, W)`` as the budget allows.

        Where the codec alone breaks the budget, that is the original encoded.
        """
        with torch.no_grad():
            found = self._largest(self._confined(distortion))
        data = found.data or encode(self._picture, found.layer, self._format)
        quality = measure_quality(self._picture.pixels, found.pixels)
        return ReleasedFile(data, found.pixels, quality, found.keeps)

    def _largest(self, distortion: torch.Tensor) -> _Candidate:
        """Bisects the amplitude; what is returned was measured."""
        best = self._untouched
        if not self.attainable:
            return best
        whole = self._candidate(distortion)
        if whole.keeps:
            return whole
        low, high, amplitude = 0.0, 1.0, min(self._amplitude, 0.99)
        for _ in range(_SEARCH_STEPS):
            tried = self._candidate(amplitude * distortion)
            if tried.keeps:
                best, low = tried, amplitude
            else:
                high = amplitude
            if high - low < _PRECISION * high:
                break
            amplitude = (low + high) / 2
        return best

    def _candidate(self, distortion: torch.Tensor) -> _Candidate:
        layer = self._changed_layer(distortion)
        original = self._picture.pixels
        data = None
        if self._format.lossless:
            pixels = self._picture.seen(layer)
        else:
            data = encode(self._picture, layer, self._format)
            pixels = decode(data)
        return _Candidate(layer, data, pixels, self._budget.kept(original, pixels))

    def _changed_layer(self, distortion: torch.Tensor) -> Pixels:
        change = self._bounded(distortion)
        if self._opacity is not None:
            change = change * (self._opacity > 0)  # What nobody sees keeps its colours.
        return to_pixels((self._layer + change).squeeze(0))

    def _confined(self, distortion: torch.Tensor) -> torch.Tensor:
        """Grey pictures get no colours."""
        if self._picture.grey:
            return distortion.mean(dim=1, keepdim=True).expand_as(distortion)
        return distortion

    def _bounded(self, distortion: torch.Tensor) -> torch.Tensor:
        """Cut at the largest change; the gradient passes, so that a value can come back."""
        if self._budget.linf is None:
            return distortion
        largest = self._budget.linf / 255.0
        return distortion + (distortion.clamp(-largest, largest) - distortion).detach()

    def _seen_change(self, distortion: torch.Tensor) -> torch.Tensor:
        return distortion if self._opacity is None else distortion * self._opacity

    def _allowed(self, distortion: torch.Tensor) -> float:
        """About how much of a distortion the budget allows after the codec's loss, at most 1."""
        budget, allowed = self._budget, 1.0
        change = self._seen_change(distortion)
        if budget.psnr is not None:
            left = 10.0 ** (-budget.psnr / 10.0) - self._lost_error
            spent = self._survives * float(change.square().mean())
            allowed = min(allowed, _root_of_ratio(left, spent))
        if budget.ssim is not None:
            # Nearly proportional to the square of the amplitude around where it was measured.
            shown = (self.original + self._amplitude * change).clamp(0.0, 1.0)
            spent = 1.0 - similarity(self.original, shown)
            left = 1.0 - budget.ssim - self._lost_similarity
            allowed = min(allowed, self._amplitude * _root_of_ratio(left, spent))
        return max(allowed, _SMALLEST)

    def _learn(self, decoded: torch.Tensor, change: torch.Tensor) -> None:
        """How much of a distortion the codec takes away, from what it did to this one."""
        put_in = float(change.square().mean())
        came_out = float((decoded - self.original).square().mean()) - self._lost_error
        if put_in > _SMALLEST * self._lost_error:
            self._survives = min(max(came_out / put_in, 0.1), 2.0)

    def _decoded(self, distortion: torch.Tensor) -> torch.Tensor:
        pixels = self._candidate(self._amplitude * distortion).pixels
        return to_tensor(pixels).unsqueeze(0).to(distortion.device)


def _root_of_ratio(left: float, spent: float) -> float:
    return math.inf if spent <= 0.0 else math.sqrt(max(left, 0.0) / spent)
