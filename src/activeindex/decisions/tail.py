"""The probability that a pair of different pictures scores at least so much."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, import_extra

Values = npt.NDArray[np.float64]

_SHARE = 0.004
"""Share of the scores that the tail is fitted to."""
_FEWEST = 50
_EXPONENTIAL = 1e-9
"""Shapes nearer to 0 than this are 0: the exponential distribution."""
LEAST = 1e-12
"""Least probability: no sample proves that a score beyond the end of its fit is impossible."""
_KNOTS = 65


@dataclass(frozen=True, eq=False)
class Tail:
    """Survival function of a sample: its quantiles, and beyond a level a generalised Pareto.

    Excesses over a high level follow a generalised Pareto distribution in the limit (Pickands,
    Annals of Statistics, 1975), which reaches beyond the largest score of the sample.

    Attributes:
        level: The score beyond which the distribution counts.
        share: Probability of a score beyond it.
        shape: Shape of the distribution; below 0 it has an end.
        scale: Its scale, in scores.
        scores: ``(k,)``, rising: quantiles of the sample, up to the level.
        survival: ``(k,)``: the share of the sample at or beyond each.
    """

    level: float
    share: float
    shape: float
    scale: float
    scores: Values
    survival: Values

    @classmethod
    def fit(cls, sample: npt.NDArray[np.floating]) -> Self:
        """Fit the tail of scores ``(n,)`` of pairs that do not match.

        Raises:
            InputError: If there are too few scores.
            MissingExtraError: If scipy is not installed.
        """
        stats = import_extra("scipy.stats", "decide", "calibrate")
        beyond = max(_FEWEST, round(_SHARE * len(sample)))
        if len(sample) < 2 * beyond:
            raise InputError(
                f"background: expected {2 * _FEWEST} pairs at least, found {len(sample)}"
            )
        ordered = np.sort(np.asarray(sample, dtype=np.float64))
        level = ordered[-beyond - 1]
        shape, _, scale = stats.genpareto.fit(ordered[-beyond:] - level, floc=0)
        survival = np.geomspace(1.0, beyond / len(ordered), _KNOTS)
        places = np.minimum(((1 - survival) * len(ordered)).astype(np.int64), len(ordered) - 1)
        scores = ordered[places]
        scores[-1] = level
        return cls(
            float(level), beyond / len(ordered), float(shape), float(scale), scores, survival
        )

    def probability(self, scores: npt.NDArray[np.floating]) -> Values:
        """Probability that a pair that does not match scores at least as much, for each score.

        Example:
            >>> tail = Tail.fit(np.random.default_rng(0).exponential(size=20_000))
            >>> [f"{p:.0e}" for p in tail.probability(np.array([0.0, 2.3, 4.5]))]
            ['1e+00', '1e-01', '1e-02']
        """
        excess = np.maximum(np.asarray(scores, dtype=np.float64) - self.level, 0.0) / self.scale
        if abs(self.shape) < _EXPONENTIAL:
            beyond = np.exp(-excess)
        else:
            beyond = np.maximum(1 + self.shape * excess, 0.0) ** (-1 / self.shape)
        log = np.interp(scores, self.scores, np.log(self.survival))
        probability = np.where(excess > 0, self.share * beyond, np.exp(log))
        return np.asarray(np.maximum(probability, LEAST))

    def is_sound(self) -> bool:
        """Return False if the values are not those of a distribution, as in a damaged file."""
        numbers = np.array([self.level, self.share, self.shape, self.scale], dtype=np.float64)
        survival = self.survival
        return bool(
            self.scores.ndim == 1
            and len(self.scores)
            and self.scores.shape == survival.shape
            and np.isfinite([*numbers, *self.scores, *survival]).all()
            and self.scale > 0 < self.share <= 1
            and (np.diff(self.scores) >= 0).all()
            and ((survival > 0) & (survival <= 1)).all()
        )
