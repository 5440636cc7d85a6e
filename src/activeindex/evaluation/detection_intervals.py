"""µAP with its uncertainty: resampled query by query, for one run or for two paired ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import DetectionResult, Metric, ScoredPairs, score_pairs
from activeindex.evaluation.intervals import Interval, percentile_interval, resampled_weights

_RESAMPLES = 500
_FEWER_RESAMPLES, _MANY_PAIRS = 200, 1_000_000
"""Each resample of DISC21's five million pairs takes a tenth of a second and more."""


@dataclass(frozen=True, eq=False)
class RankedPairs:
    """All pairs of all queries, highest score first, each with its query.

    Attributes:
        pairs: Scores and truth, in that order.
        query: ``(pairs,)``: the number of each pair's query.
        originals: ``(queries,)``: each query's original, -1 for none.
    """

    pairs: ScoredPairs
    query: NDArray[np.int64]
    originals: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Iterable[DetectionResult], metric: Metric, first_id: int = 0) -> Self:
        """Scores the rows of a run; ``first_id`` is taken off the originals' ids."""
        parts, originals = [], []
        for row in rows:
            index = row.image_index
            ids, values = row.retrieved_ids[None], row.retrieved_distances[None]
            parts.append(score_pairs([index], values, ids, metric))
            originals.append(index - first_id if row.is_matching else index)
        if not parts:
            raise InputError("copy-detection results: expected at least one row, found none")
        scores = np.concatenate([part.scores for part in parts])
        query = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
        order = np.argsort(-scores, kind="stable")
        matching = sum(part.matching for part in parts)
        pairs = ScoredPairs(
            scores[order],
            np.concatenate([part.positive for part in parts])[order],
            matching,
            len(parts) - matching,
        )
        return cls(pairs, query[order], np.array(originals, dtype=np.int64))

    def micro_ap(self, weights: NDArray[np.float64] | None = None) -> float:
        """µAP with each query counted ``weights`` ``(queries,)`` times; nan without positives."""
        each = np.ones(len(self.query)) if weights is None else weights[self.query]
        scores = self.pairs.scores
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))
        kept, true = np.cumsum(each)[last], np.cumsum(each * self.pairs.positive)[last]
        if not len(true) or true[-1] <= 0:
            return float("nan")
        precision = np.divide(true, kept, out=np.zeros_like(true), where=kept > 0)
        return float(np.sum(precision * np.diff(true, prepend=0.0)) / true[-1])

    @property
    def interval(self) -> Interval:
        """Of :meth:`micro_ap`, by bootstrap over queries."""
        return percentile_interval(_resampled(self, _resamples(self)))


def paired_difference(first: RankedPairs, second: RankedPairs) -> Interval | None:
    """Interval of the second's µAP minus the first's over the same resampled queries.

    Returns:
        None if the two runs did not have the same queries.
    """
    if not np.array_equal(first.originals, second.originals):
        return None
    resamples = min(_resamples(first), _resamples(second))
    return percentile_interval(_resampled(second, resamples) - _resampled(first, resamples))


def _resamples(ranked: RankedPairs) -> int:
    return _RESAMPLES if len(ranked.query) < _MANY_PAIRS else _FEWER_RESAMPLES


def _resampled(ranked: RankedPairs, resamples: int) -> NDArray[np.float64]:
    weights = resampled_weights(len(ranked.originals), resamples=resamples)
    return np.array([ranked.micro_ap(row) for rows in weights for row in rows])
