"""Budgets: measuring bounds, and the largest amplitude that keeps them."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from activeindex.activation.settings import Budget
from activeindex.images.quality import largest_changes, psnrs, ssims

Rows = npt.NDArray[np.intp]
Amplitudes = npt.NDArray[np.float64]
Kept = npt.NDArray[np.bool_]

_STEPS = 16
_PRECISION = 2e-3
"""Relative, of an amplitude: 0.02 dB."""


def kept(
    budgets: Sequence[Budget], original: torch.Tensor, changed: torch.Tensor
) -> npt.NDArray[np.bool_]:
    """Tell which images keep every bound of their budgets, ``(B,)``.

    Only what is bounded is measured.

    Args:
        budgets: One for each image; the same bounds are open in all of them.
        original: Levels ``(B, 3, H, W)``, uint8.
        changed: Levels of the same shape.
    """
    keep = np.ones(len(budgets), np.bool_)
    if budgets[0].psnr is not None:
        keep &= np.array(psnrs(original, changed)) >= [budget.psnr for budget in budgets]
    if budgets[0].linf is not None:
        keep &= np.array(largest_changes(original, changed)) <= [budget.linf for budget in budgets]
    if budgets[0].ssim is not None:
        keep &= np.array(ssims(original, changed)) >= [budget.ssim for budget in budgets]
    return keep


def largest_amplitudes(
    keep: Callable[[Rows, Amplitudes], Kept],
    attainable: Kept,
    guesses: Sequence[float] | None = None,
) -> Amplitudes:
    """Largest amplitudes, at most 1, with which images keep their budgets, ``(B,)``.

    All images are measured together, but each has its own search. An amplitude that is returned was
    measured.

    Args:
        keep: Tells whether some images, by row, keep their budgets at the given amplitudes.
        attainable: Whether each image keeps its own at 0; others get 0.
        guesses: Estimates of what is allowed; 1 by default.
    """
    found = np.zeros(len(attainable))
    rows = np.flatnonzero(attainable)
    if not len(rows):
        return found
    whole = keep(rows, np.ones(len(rows)))
    found[rows[whole]] = 1.0
    searches = {row: _Search(1.0 if guesses is None else guesses[row]) for row in rows[~whole]}
    for _ in range(_STEPS):
        still = np.array([row for row, search in searches.items() if not search.done], np.intp)
        if not len(still):
            break
        keeps = keep(still, np.array([searches[row].tried for row in still]))
        for row, kept in zip(still, keeps, strict=True):
            searches[row].tell(bool(kept))
    for row, search in searches.items():
        found[row] = search.low
    return found


class _Search:
    """Search for the amplitude of one image around a guess.

    Attributes:
        low: The largest amplitude that is known to keep the budget.
        tried: The amplitude to try next.
    """

    def __init__(self, guess: float) -> None:
        self.low, self._high, self._step = 0.0, 1.0, 2.0 * _PRECISION
        self.tried = min(guess, 1.0 - _PRECISION)

    @property
    def done(self) -> bool:
        """The amplitude is known precisely enough."""
        return self._high - self.low < _PRECISION * self._high

    def tell(self, kept: bool) -> None:
        """Narrow the search by whether the budget is kept at the last amplitude."""
        if kept:
            self.low = self.tried
        else:
            self._high = self.tried
        # Away from the guess in growing steps until it lies between, then by halves.
        near = self.tried * (1.0 + self._step if kept else 1.0 - self._step)
        self.tried = near if self.low < near < self._high else (self.low + self._high) / 2
        self._step *= 8.0
