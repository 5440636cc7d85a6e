"""How far a figure may be from what more images would give: intervals and tests.

The images of a set are a sample; each gives one query per edit. A share of queries of one edit is a
binomial proportion, for which there are closed forms. An average over edits is not: the queries of
one image stand and fall together, so it is resampled image by image (bootstrap). Draws are seeded.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
_RESAMPLES = 2000
_AT_ONCE = 100
_PERMUTATIONS = 10_000


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(hits: int, queries: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson, JASA 1927).

    Args:
        hits: How many queries succeeded.
        queries: Out of how many, 1 or more.

    Raises:
        InputError: If there is no query, or more hits than queries.
    """
    if not 0 <= hits <= queries or queries < 1:
        raise InputError(f"hits: expected 0 to {queries} of at least one query, found {hits}")
    share, z2 = hits / queries, _Z95**2
    centre = (share + z2 / (2 * queries)) / (1 + z2 / queries)
    spread = math.sqrt(share * (1 - share) / queries + z2 / (4 * queries**2))
    half = _Z95 * spread / (1 + z2 / queries)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


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

    Were both runs equally good, each query that only one of them found would be as likely found by
    the one as by the other: a binomial test of the smaller count at 1/2.
    """
    discordant, fewer = only_second + only_first, min(only_second, only_first)
    term, tail = 1, 0
    for found in range(fewer + 1):
        tail += term
        term = term * (discordant - found) // (found + 1)
    # Whole numbers of any size: floats would overflow beyond a thousand queries.
    return min(1.0, 2 * tail / (1 << discordant))


def holm_adjusted(p_values: list[float]) -> list[float]:
    """P-values of several tests taken together (Holm, Scand. J. Statistics, 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, test in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[test]))
        adjusted[test] = largest
    return adjusted


def resampled_weights(
    items: int, seed: int = 0, resamples: int = _RESAMPLES
) -> Iterator[NDArray[np.float64]]:
    """How often each item is drawn in bootstrap resamples, ``(B, items)`` at a time."""
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - first)
        draws = generator.integers(items, size=(rows, items))
        draws += np.arange(rows)[:, None] * items
        counts = np.bincount(draws.ravel(), minlength=rows * items)
        yield counts.reshape(rows, items).astype(np.float64)


def percentile_interval(resampled: NDArray[np.float64]) -> Interval:
    """The middle 95 % of what resamples gave; nan among them is left out."""
    low, high = np.nanquantile(resampled, (0.025, 0.975)).tolist()
    return Interval(low, high)


def mean_of_means_interval(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """Bootstrap interval of the mean over rows of each row's mean.

    Args:
        values: ``(edits, images)``; nan where an edit has no query of an image.
        seed: Of the resampling.
    """
    present = np.isfinite(values)
    known = np.where(present, values, 0.0)
    resampled = []
    for weights in resampled_weights(values.shape[1], seed):
        with np.errstate(invalid="ignore"):
            means = (weights @ known.T) / (weights @ present.T)
        resampled.append(np.nanmean(means, axis=1))
    return percentile_interval(np.concatenate(resampled))


def sign_flip_test(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value that paired differences ``(n,)`` have mean 0.

    A permutation test: were the runs equally good, each image's difference would be as likely the
    other way round. With so many draws the least value is 1/10,001.
    """
    generator = np.random.default_rng(seed)
    observed, as_large = abs(float(differences.sum())), 0
    for _ in range(0, _PERMUTATIONS, _AT_ONCE):
        signs = generator.integers(2, size=(_AT_ONCE, len(differences)), dtype=np.int8) * 2 - 1
        sums = np.abs(signs @ differences)
        as_large += int(np.count_nonzero(sums >= observed - 1e-9))
    return (as_large + 1) / (_PERMUTATIONS + 1)
