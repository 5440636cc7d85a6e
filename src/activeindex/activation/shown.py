"""What readers of files will see, while their distortions are still being optimised."""

from collections.abc import Sequence

import torch

from activeindex.activation.release import Release
from activeindex.images import similarity

_SMALLEST = 1e-3
"""Amplitude from which the optimisation still finds back."""


class Shown:
    """Pictures of one size under distortions, as their readers will see them.

    Nothing of a picture depends on those beside it.

    Args:
        releases: Of pictures of one size, with the same settings.

    Attributes:
        original: ``(B, 3, H, W)`` in [0, 1].
        amplitude: How much of the distortions the budget allows, ``(B, 1, 1, 1)``, at most 1; as
            of the last call.
    """

    def __init__(self, releases: Sequence[Release]) -> None:
        self._releases = tuple(releases)
        self._lossless = releases[0].format.lossless
        self.original = torch.cat([release.original for release in releases])
        self._opacity = self._grey = None
        if any(release.opacity is not None for release in releases):
            opaque = torch.ones_like(self.original[:1, :1])
            known = [opaque if r.opacity is None else r.opacity for r in releases]
            self._opacity = torch.cat(known)
        if any(release.grey for release in releases):
            self._grey = self._column([release.grey for release in releases])
        self._linf = self._error = self._dissimilarity = None
        budget = releases[0].budget
        if budget.linf is not None:
            self._linf = self._column([(r.budget.linf or 0) / 255.0 for r in releases])
        if budget.psnr is not None:
            self._error = self._column([release.error_left for release in releases])
        if budget.ssim is not None:
            self._dissimilarity = self._column([r.dissimilarity_left for r in releases])
        self._lost = self._column([release.lost_error for release in releases])
        self.amplitude = torch.ones_like(self._lost)
        self._survives = torch.ones_like(self._lost)  # Of the distortion's energy, in the codec.

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        """What readers would see ``(B, 3, H, W)``.

        The images are distorted as far as the budget allows. They go through the codec if that is
        lossy, which the gradient passes unchanged; otherwise they are neither clamped nor rounded.

        Args:
            distortion: ``(B, 3, H, W)`` in pixel units, where 1 is the whole range.
        """
        confined = self._confined(distortion)
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
        if self._lossless:
            return shown
        decoded = self._decoded(confined.detach())
        self._learn(decoded, changed.detach())
        return shown + (decoded - shown.detach())

    def _column(self, values: Sequence[float]) -> torch.Tensor:
        column = torch.tensor([float(value) for value in values], device=self.original.device)
        return column.view(-1, 1, 1, 1)

    def _confined(self, distortion: torch.Tensor) -> torch.Tensor:
        """Grey pictures get no colours."""
        if self._grey is None:
            return distortion
        return torch.where(self._grey > 0, distortion.mean(dim=1, keepdim=True), distortion)

    def _bounded(self, distortion: torch.Tensor) -> torch.Tensor:
        """Cut at the largest change; the gradient passes, so that a value can come back."""
        if self._linf is None:
            return distortion
        cut = torch.maximum(torch.minimum(distortion, self._linf), -self._linf)
        return distortion + (cut - distortion).detach()

    def _seen(self, distortion: torch.Tensor) -> torch.Tensor:
        return distortion if self._opacity is None else distortion * self._opacity

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
            pairs = zip(torch.split(self.original, 1), torch.split(shown, 1), strict=True)
            spent = self._column([1.0 - similarity(*pair) for pair in pairs])
            ratio = _root_of_ratio(self._dissimilarity, spent)
            allowed = torch.minimum(allowed, self.amplitude * ratio)
        return allowed.clamp(min=_SMALLEST)

    def _learn(self, decoded: torch.Tensor, change: torch.Tensor) -> None:
        """How much of a distortion the codec takes away, from what it did to these."""
        put_in = _mean_square(change)
        came_out = _mean_square(decoded - self.original) - self._lost
        survives = (came_out / put_in.clamp(min=1e-30)).clamp(0.1, 2.0)
        self._survives = torch.where(put_in > 1e-3 * self._lost, survives, self._survives)

    def _decoded(self, distortion: torch.Tensor) -> torch.Tensor:
        changes = torch.split(self.amplitude * distortion, 1)
        pairs = zip(self._releases, changes, strict=True)
        return torch.cat([release.decoded(change) for release, change in pairs])


def _mean_square(images: torch.Tensor) -> torch.Tensor:
    return images.square().mean(dim=(1, 2, 3), keepdim=True)


def _root_of_ratio(left: torch.Tensor, spent: torch.Tensor) -> torch.Tensor:
    """Infinite where nothing is spent."""
    ratio = left.clamp(min=0.0) / spent.clamp(min=1e-30)
    return torch.where(spent > 0.0, ratio.sqrt(), torch.inf)
