"""What readers of files will see, while their distortions are still being optimised."""

from collections.abc import Sequence

import torch

from activeindex.activation.release import Release, Releases
from activeindex.images.quality import similarities
from activeindex.runtime.parallel import Mapper, one_by_one

_SMALLEST = 1e-3
"""Amplitude from which the optimisation still finds back."""


class BudgetedRenderer:
    """Pictures of one size under distortions, as their readers will see them.

    Nothing of a picture depends on those beside it.

    Args:
        releases: Of pictures of one size, with the same settings.
        each: Does what is done picture by picture.

    Attributes:
        released: The pictures, on their way to files.
        original: ``(B, 3, H, W)`` in [0, 1].
        amplitude: How much of the distortions the budget allows, ``(B, 1, 1, 1)``, at most 1; as
            of the last call.
    """

    def __init__(self, releases: Sequence[Release], each: Mapper = one_by_one) -> None:
        self.released = Releases(releases, each)
        self.original = self.released.original
        column = self.released.column
        self._error = self._dissimilarity = None
        budget = releases[0].budget
        if budget.psnr is not None:
            self._error = column(release.error_left for release in releases)
        if budget.ssim is not None:
            self._dissimilarity = column(release.dissimilarity_left for release in releases)
        self._lost = column(release.lost_error for release in releases)
        self.amplitude = torch.ones_like(self._lost)
        self._survives = torch.ones_like(self._lost)  # Of the distortion's energy, in the codec.

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        """What readers would see ``(B, 3, H, W)``.

        The images are distorted as far as the budget allows. They go through the codec if that is
        lossy, which the gradient passes unchanged; otherwise they are neither clamped nor rounded.

        Args:
            distortion: ``(B, 3, H, W)`` in pixel units, where 1 is the whole range.
        """
        confined = self.released.confined(distortion)
        changing = confined
        if self._error is not None or self._dissimilarity is not None:
            self.amplitude = self._allowed(confined.detach())
            # The gradient knows that a budget that binds fixes the distortion's energy.
            energy = _mean_square(confined)
            fixed = (energy.detach() / energy).sqrt()
            binds = self.amplitude < 1.0
            changing = confined * torch.where(binds, self.amplitude * fixed, self.amplitude)
        changed = self._seen(self._bounded(changing))
        shown = self.original + changed
        if self.released.lossless:
            return shown
        decoded = self.released.decoded(self.amplitude * confined.detach())
        self._learn(decoded, changed.detach())
        return shown + (decoded - shown.detach())

    def _bounded(self, distortion: torch.Tensor) -> torch.Tensor:
        """Cut at the largest change; the gradient passes, so that a value can come back."""
        largest = self.released.linf
        if largest is None:
            return distortion
        return distortion + (distortion.clamp(-largest, largest) - distortion).detach()

    def _seen(self, distortion: torch.Tensor) -> torch.Tensor:
        opacity = self.released.opacity
        return distortion if opacity is None else distortion * opacity

    def _allowed(self, distortion: torch.Tensor) -> torch.Tensor:
        """About how much of the distortions the budget allows after the codec's loss, at most 1."""
        allowed = torch.ones_like(self.amplitude)
        change = self._seen(distortion)
        if self._error is not None:
            spent = self._survives * _mean_square(change)
            allowed = torch.minimum(allowed, _root_of_ratio(self._error, spent))
        if self._dissimilarity is not None:
            # Nearly proportional to the square of the amplitude around where it was measured.
            shown = (self.original + self.amplitude * change).clamp(0.0, 1.0)
            alike = similarities(self.original, shown)
            spent = self.released.column(1.0 - each for each in alike)
            ratio = _root_of_ratio(self._dissimilarity, spent)
            allowed = torch.minimum(allowed, self.amplitude * ratio)
        return allowed.clamp(min=_SMALLEST)

    def _learn(self, decoded: torch.Tensor, change: torch.Tensor) -> None:
        """How much of a distortion the codec takes away, from what it did to these."""
        put_in = _mean_square(change)
        came_out = _mean_square(decoded - self.original) - self._lost
        survives = (came_out / put_in.clamp(min=1e-30)).clamp(0.1, 2.0)
        self._survives = torch.where(put_in > 1e-3 * self._lost, survives, self._survives)


def _mean_square(images: torch.Tensor) -> torch.Tensor:
    return images.square().mean(dim=(1, 2, 3), keepdim=True)


def _root_of_ratio(left: torch.Tensor, spent: torch.Tensor) -> torch.Tensor:
    """Infinite where nothing is spent."""
    ratio = left.clamp(min=0.0) / spent.clamp(min=1e-30)
    return torch.where(spent > 0.0, ratio.sqrt(), torch.inf)
