"""Confidence intervals and significance tests for the figures of a run.

The images of a set are a sample; each gives one query per edit. A share of queries of one edit is a
binomial proportion, for which there are closed forms. An average over edits is not: the queries of
one image are correlated, so it is resampled image by image (bootstrap). All draws are seeded.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError

Values = NDArray[np.float64]

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
_RESAMPLES = 2000
_PERMUTATIONS = 10_000
_AT_ONCE = 100


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(hits: int, queries: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson, JASA 1927).

    Args:
        hits: Queries that succeeded.
        queries: All of them, 1 or more.

    Raises:
        InputError: If there is no query, or more hits than queries.

    Example:
        >>> low, high = wilson_interval(4, 16)
        >>> f"{low:.3f} to {high:.3f}"
        '0.102 to 0.495'
    """
    if not 0 <= hits <= queries or queries < 1:
        raise InputError(f"hits: expected 0 to {queries} of at least one query, found {hits}")
    share, z2 = hits / queries, _Z95**2
    centre = (share + z2 / (2 * queries)) / (1 + z2 / queries)
    spread = math.sqrt(share * (1 - share) / queries + z2 / (4 * queries**2))
    half = _Z95 * spread / (1 + z2 / queries)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def share_of(hits: Values) -> tuple[float, Interval] | None:
    """Share of queries that succeeded, with Wilson's interval.

    Args:
        hits: ``(n,)``: 1 for success, 0 for failure, nan for no query.

    Returns:
        None if there is no query.
    """
    known = hits[np.isfinite(hits)]
    if not len(known):
        return None
    return float(known.mean()), wilson_interval(round(float(known.sum())), len(known))


def paired_interval(only_second: int, only_first: int, queries: int) -> Interval:
    """Interval of the difference of two proportions over the same queries, second minus first.

    The adjusted Wald interval of Bonett and Price (J. Educational and Behavioral Statistics, 2012).

    Args:
        only_second: Queries that succeeded in the second run only.
        only_first: Queries that succeeded in the first run only.
        queries: All of them.
    """
    gained, lost = (only_second + 1) / (queries + 2), (only_first + 1) / (queries + 2)
    half = _Z95 * math.sqrt((gained + lost - (gained - lost) ** 2) / (queries + 2))
    return Interval(max(-1.0, gained - lost - half), min(1.0, gained - lost + half))


def mcnemar_test(only_second: int, only_first: int) -> float:
    """Exact two-sided p-value of McNemar's test (Psychometrika, 1947).

    Under the null hypothesis a query that only one run found is as likely found by either: a
    binomial test of the smaller count at 1/2.

    Example:
        >>> mcnemar_test(7, 1)
        0.0703125
    """
    discordant, fewer = only_second + only_first, min(only_second, only_first)
    term, tail = 1, 0
    for found in range(fewer + 1):
        tail += term
        term = term * (discordant - found) // (found + 1)
    # Integers of any size: floats would overflow beyond a thousand queries.
    return min(1.0, 2 * tail / (1 << discordant))


def holm_adjusted(p_values: list[float]) -> list[float]:
    """P-values adjusted for several tests (Holm, Scand. J. Statistics, 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, test in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[test]))
        adjusted[test] = largest
    return adjusted


def bootstrap_interval(
    statistic: Callable[[Values], Values], items: int, resamples: int = _RESAMPLES
) -> Interval:
    """Percentile bootstrap interval of a weighted statistic (Efron and Tibshirani, 1993).

    Args:
        statistic: Maps weights ``(B, items)``, how often each item is drawn in B resamples, to
            values ``(B,)``; nan among them is left out.
        items: Number of items that are resampled with replacement.
        resamples: Number of resamples.
    """
    generator = np.random.default_rng(0)
    values = []
    for first in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - first)
        draws = generator.integers(items, size=(rows, items))
        draws += np.arange(rows)[:, None] * items
        counts = np.bincount(draws.ravel(), minlength=rows * items)
        values.append(statistic(counts.reshape(rows, items).astype(np.float64)))
    low, high = np.nanquantile(np.concatenate(values), (0.025, 0.975)).tolist()
    return Interval(low, high)


def mean_of_means_interval(values: Values) -> Interval:
    """Bootstrap interval of the mean over rows of each row's mean.

    Args:
        values: ``(edits, images)``; nan where an edit has no query of an image.
    """
    present = np.isfinite(values)
    known = np.where(present, values, 0.0)

    def mean_of_means(weights: Values) -> Values:
        with np.errstate(invalid="ignore"):
            means: Values = np.nanmean((weights @ known.T) / (weights @ present.T), axis=1)
        return means

    return bootstrap_interval(mean_of_means, values.shape[1])


def sign_flip_test(differences: Values) -> float:
    """Two-sided p-value that paired differences ``(n,)`` have mean 0, by permutation.

    Under the null hypothesis each difference is as likely to have the other sign. With 10,000
    draws the least value is 1/10,001.
    """
    generator = np.random.default_rng(0)
    observed, as_large = abs(float(differences.sum())), 0
    for _ in range(0, _PERMUTATIONS, _AT_ONCE):
        signs = generator.integers(2, size=(_AT_ONCE, len(differences)), dtype=np.int8) * 2 - 1
        sums = np.abs(signs @ differences)
        as_large += int(np.count_nonzero(sums >= observed - 1e-9))
    return (as_large + 1) / (_PERMUTATIONS + 1)
