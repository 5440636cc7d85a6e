"""Budgets: the share of one that an image spends, and the largest amplitude that keeps it."""

import math
from collections.abc import Callable

from activeindex.activation.settings import Budget, error_of_score
from activeindex.images.levels import Pixels, stack_levels
from activeindex.images.quality import largest_changes, psnrs, ssims

_STEPS = 16
_SECANTS = 4
"""Steps along the secant, after which what is left is halved."""
_PRECISION = 2e-3
"""Relative, of an amplitude: 0.02 dB."""

_POWER, _BEND = 1.35, 0.4
"""Power of the amplitude with which the errors that SSIMULACRA2 sums up grow, on average, and by
how much it falls with the amplitude's logarithm."""


def spent(budget: Budget, original: Pixels, changed: Pixels) -> float:
    """Share of a budget that a changed image spends; at most 1 if it keeps every bound.

    Only what is bounded is measured. The bound on SSIMULACRA2, which costs more than all others, is
    left to :func:`amplitude_of_score`.

    Args:
        budget: The bounds.
        original: Pixels ``(H, W, 3)``.
        changed: Pixels of the same shape.
    """
    here, there = stack_levels([original]), stack_levels([changed])
    shares = [0.0]
    if budget.psnr is not None:
        # The comparison with the bound decides: powers round.
        (found,) = psnrs(here, there)
        share = 10.0 ** ((budget.psnr - found) / 10.0)
        shares.append(min(share, 1.0) if found >= budget.psnr else max(share, 1.0 + 1e-12))
    if budget.ssim is not None:
        (found,) = ssims(here, there)
        share = (1.0 - found) / (1.0 - budget.ssim)
        shares.append(min(share, 1.0) if found >= budget.ssim else max(share, 1.0 + 1e-12))
    if budget.linf is not None and largest_changes(here, there)[0] > budget.linf:
        shares.append(math.inf)  # Says nothing about how much less would do.
    return max(shares)


def largest_amplitude(spent_at: Callable[[float], float], guess: float, start: float) -> float:
    """Largest amplitude, at most 1, at which a budget is kept.

    The share that is spent grows about in proportion to the square of the amplitude: the search
    goes along the secant, or halves what is left where that does not help.

    Args:
        spent_at: Share of the budget that is spent at an amplitude.
        guess: Estimate of what is allowed.
        start: Share that is spent at 0.

    Returns:
        An amplitude at which ``spent_at`` was at most 1; 0 if there is none.
    """
    low, high, square = 0.0, math.inf, min(guess, 1.0) ** 2
    for step in range(_STEPS):
        share = spent_at(math.sqrt(square))
        if share <= 1.0:
            low = square
        else:
            high = square
        full = low == square and share >= 1.0 - 2.0 * _PRECISION
        if full or low == 1.0 or high - low < 2.0 * _PRECISION * high:
            break
        along = math.inf
        if start < share < math.inf:
            along = square * (1.0 - _PRECISION - start) / (share - start)
        if step < _SECANTS and high == math.inf and along >= 1.0:
            square = 1.0
        elif step < _SECANTS and low < along < high:
            square = along
        else:
            square = (low + min(high, 1.0)) / 2.0
    return math.sqrt(low)


def amplitude_of_score(score_at: Callable[[float], float], bound: float, amplitude: float) -> float:
    """Largest amplitude found at which SSIMULACRA2 keeps its bound, after at most three scores.

    The second amplitude is where errors of the usual power keep the bound. The third follows from
    the power between the first and the second.

    Args:
        score_at: Score at an amplitude; minus infinity where another bound is broken.
        bound: The smallest score.
        amplitude: The largest amplitude, at which the other bounds are kept.

    Returns:
        An amplitude at which ``score_at`` was at least the bound; 0 if there is none.
    """
    first = score_at(amplitude)
    if first >= bound:
        return amplitude
    # Logarithms: of the share of the first error that is allowed, and of the amplitude's share.
    wanted = math.log(error_of_score(bound) / error_of_score(first)) - _PRECISION
    near = wanted / _POWER
    second = score_at(amplitude * math.exp(near))
    if second == 100.0:
        return amplitude * math.exp(near)
    found = math.log(error_of_score(second) / error_of_score(first))
    power = min(max(found / near, 0.5), 2.0)
    if second < bound:
        # Below, the power is no less.
        less = near + (wanted - found - 5.0 * _PRECISION) / (0.95 * power)
        less = amplitude * math.exp(max(less, 2.0 * near - 1.0))
        return less if score_at(less) >= bound else 0.0
    rest = (wanted - found) / power
    rest -= _BEND / 2.0 * rest * (-near - rest) / power + 3.0 * _PRECISION
    more = amplitude * math.exp(near + rest)
    if rest > 5.0 * _PRECISION and more < amplitude and score_at(more) >= bound:
        return more
    return amplitude * math.exp(near)
