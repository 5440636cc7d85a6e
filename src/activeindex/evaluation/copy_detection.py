"""Copy detection: is the query a copy of anything in the index, decided by one threshold?

Half of the answer is to stay silent about images that are not in the index, so every retrieved
pair (query, image) gets a score and all pairs of all queries are ranked together. The score is how
much closer the image is than the next one: a copy stands out from the images behind it, while a
non-matching query has many neighbours at about the same distance.

With ``d`` the k sorted distances of a query, pair j has the score ``-d[j] + d[j + 1]``; the last
neighbour has no next one and is dropped. In an index of inner products larger is closer, and the
score is ``d[j] - d[j + 1]``. Either way it is the lead over the next neighbour, 0 or more.

FAISS fills up with id -1 where it found fewer than k, which ends the query's pairs. The *distance*
that it writes there is no distance (the largest float32). Taken literally it would give the last
image found a lead of 3.4e38 and put it above every real copy, once per query whose cell holds fewer
than k images. The lead over nothing is therefore counted as 0, the least a lead can be.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from activeindex.errors import InputError, ShapeError
from activeindex.evaluation.retrieval import neighbour_arrays
from activeindex.evaluation.statistics import Interval, Values, bootstrap_interval

if TYPE_CHECKING:  # That module imports FAISS, which tables do not need.
    from activeindex.indexing.training import Metric

NO_MATCH = -1
"""``image_index`` of a query that has no original in the index."""

MISSED_SCORE = -1.0
"""Score of a matching query's pair that was not retrieved; below every retrieved pair's."""

_LARGEST = float(np.finfo(np.float32).max)
_ROWS_AT_ONCE = 4096
_RESAMPLES = 500
_FEWER_RESAMPLES, _MANY_PAIRS = 200, 1_000_000
"""Each resample of DISC21's five million pairs takes a tenth of a second and more."""


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """Result of the search for one query: one row of ``icd_df.csv``."""

    batch: int
    """Number of the batch that the query was in."""
    image_index: int
    """The original's id in the index, or -1 for a query without one."""
    attack: str
    """The edit, possibly with details: see ``retrieval.attack_name``."""
    retrieved_distances: NDArray[np.float32]
    """(k,), best first, in the index's metric."""
    retrieved_ids: NDArray[np.int64]
    """(k,), ids in the index; -1 where FAISS found fewer than k."""

    @classmethod
    def from_search(
        cls, batch: int, image_index: int, attack: str, distances: ArrayLike, ids: ArrayLike
    ) -> Self:
        """Copy the neighbours that a search returned.

        Args:
            batch: Number of the batch.
            image_index: The original's id, or -1 for a non-matching query.
            attack: The edit's name.
            distances: (k,), best first; kept as float32.
            ids: (k,), -1 where nothing was found.

        Raises:
            ShapeError: If distances and ids are not two vectors of one length.
            InputError: If ``image_index`` is below -1 or the ids are not whole numbers.
        """
        if image_index < NO_MATCH:
            raise InputError(f"image_index: expected an id, or -1 for none, found {image_index}")
        values, numbers = neighbour_arrays(f"query of image {image_index}", distances, ids)
        return cls(batch, image_index, attack, values, numbers)

    @property
    def is_matching(self) -> bool:
        """True if the query is an edit of an image in the index."""
        return self.image_index != NO_MATCH


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """All pairs of all queries, in any order."""

    scores: Values
    """(pairs,)."""
    positive: NDArray[np.bool_]
    """(pairs,): the retrieved image is the query's original."""
    query: NDArray[np.int64]
    """(pairs,): the number of each pair's query, 0, 1, …."""
    originals: NDArray[np.int64]
    """(queries,): each query's original, -1 for none."""

    @classmethod
    def from_rows(
        cls, rows: Iterable[DetectionResult], metric: "Metric", first_id: int = 0
    ) -> Self:
        """Score the rows of a run; they may stream, and differ in k.

        Args:
            rows: The rows.
            metric: The metric of the index.
            first_id: Subtracted from the originals' ids, so that runs over different references
                can be paired.

        Raises:
            InputError: If an id comes with no finite distance.
        """
        parts = [score_pairs(*batch, metric) for batch in _stacked(rows)]
        starts = np.cumsum([0, *(len(part.originals) for part in parts)])
        nothing = np.empty(0, dtype=np.int64)
        originals = np.concatenate([nothing, *(part.originals for part in parts)])
        return cls(
            np.concatenate([np.empty(0), *(part.scores for part in parts)]),
            np.concatenate([np.empty(0, dtype=bool), *(part.positive for part in parts)]),
            np.concatenate([nothing, *(p.query + n for p, n in zip(parts, starts, strict=False))]),
            np.where(originals == NO_MATCH, NO_MATCH, originals - first_id),
        )

    @property
    def matching(self) -> int:
        """Number of queries that have an original in the index."""
        return int(np.count_nonzero(self.originals != NO_MATCH))

    @property
    def non_matching(self) -> int:
        """Number of queries that have none."""
        return len(self.originals) - self.matching

    @cached_property
    def ranking(
        self,
    ) -> tuple[Values, NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Scores, truth and queries by falling score, and the last place of each distinct score."""
        order = np.argsort(-self.scores, kind="stable")
        scores = self.scores[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))
        return scores, self.positive[order], self.query[order], last


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall of keeping the pairs that score at least a threshold."""

    thresholds: Values
    """(T,): the distinct scores, highest first."""
    precision: Values
    """(T,), in [0, 1]."""
    found: Values
    """(T,): weight of the positive pairs kept, never decreasing."""

    @property
    def recall(self) -> Values:
        """(T,), in [0, 1]; nan if there is no positive pair."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.found / self.found[-1:])

    @property
    def average_precision(self) -> float:
        """Mean precision over the positive pairs, each by its weight; nan without any.

        This is the step-wise area under the curve: the sum of precision times the recall gained.
        """
        if not len(self.found) or self.found[-1] <= 0:
            return float("nan")
        gained = np.diff(self.found, prepend=0.0)
        return float(np.sum(self.precision * gained) / self.found[-1])


def score_pairs(
    image_indices: ArrayLike, distances: ArrayLike, ids: ArrayLike, metric: "Metric"
) -> ScoredPairs:
    """Score the retrieved pairs of some queries, as the module describes.

    Args:
        image_indices: (n,) ids of the originals, -1 for queries without one.
        distances: (n, k), best first in each row.
        ids: (n, k), -1 where nothing was found; the rest of a row after a -1 is not read.
        metric: ``"L2"`` if less is closer, ``"IP"`` if more is.

    Returns:
        The pairs, query by query, then one of score -1 per matching query whose original is in
        none of its pairs.

    Raises:
        ShapeError: If the three do not belong together.
        InputError: If the metric is unknown, or an id comes with no finite distance.

    Example:
        >>> pairs = score_pairs([8, -1], [[0.25, 0.75, 1.0]] * 2, [[8, 5, 6], [4, 3, 2]], "L2")
        >>> pairs.scores.tolist(), pairs.positive.tolist()
        ([0.5, 0.25, 0.5, 0.25], [True, False, False, False])
    """
    if metric not in ("L2", "IP"):
        raise InputError(f"metric: expected L2 or IP, found {metric!r}")
    originals = np.asarray(image_indices, dtype=np.int64)
    numbers = np.asarray(ids, dtype=np.int64)
    values = np.asarray(distances, dtype=np.float64)
    if originals.ndim != 1:
        raise ShapeError("image_indices", ("n",), originals.shape)
    if values.ndim != 2 or len(values) != len(originals):
        raise ShapeError("distances", (len(originals), "k"), values.shape)
    if numbers.shape != values.shape:
        raise ShapeError("ids", values.shape, numbers.shape)

    found = np.logical_and.accumulate(numbers != -1, axis=1)
    unusable = found & ~np.isfinite(values)
    if unusable.any():
        query, place = np.argwhere(unusable)[0].tolist()
        raise InputError(
            f"query of image {originals[query]}: expected a distance for every id, "
            f"found {values[query, place]} for id {numbers[query, place]}"
        )
    kept = found[:, :-1]
    with np.errstate(invalid="ignore"):  # inf - inf among the padding, which is not kept.
        scores = np.diff(values, axis=1)
        if metric == "IP":
            scores = -scores
    # A padded neighbour's distance counts only if it is one: see the module's docstring.
    padded = ~found[:, 1:] & ~(np.abs(values[:, 1:]) < _LARGEST)
    scores[padded] = 0.0

    positive = (numbers[:, :-1] == originals[:, None]) & kept
    missed = np.flatnonzero((originals != NO_MATCH) & ~positive.any(axis=1))
    return ScoredPairs(
        np.concatenate([scores[kept], np.full(len(missed), MISSED_SCORE)]),
        np.concatenate([positive[kept], np.ones(len(missed), dtype=bool)]),
        np.concatenate([np.nonzero(kept)[0], missed]),
        originals,
    )


def precision_recall(pairs: ScoredPairs, weights: Values | None = None) -> PrecisionRecallCurve:
    """Precision and recall at every distinct score; pairs of equal score are kept together.

    Args:
        pairs: The scored pairs.
        weights: ``(queries,)``: how often each query counts, 0 or more; once each by default.
    """
    scores, positive, query, last = pairs.ranking
    each = np.ones(len(scores)) if weights is None else weights[query]
    kept, found = np.cumsum(each)[last], np.cumsum(each * positive)[last]
    precision = np.divide(found, kept, out=np.zeros_like(found), where=kept > 0)
    return PrecisionRecallCurve(scores[last], precision, found)


def micro_average_precision(pairs: ScoredPairs, weights: Values | None = None) -> float:
    """µAP: average precision over all pairs of all queries together, in [0, 1].

    Args:
        pairs: The scored pairs.
        weights: As in :func:`precision_recall`.

    Returns:
        The average precision of :func:`precision_recall`; nan if there is no matching query.

    Example:
        >>> pairs = score_pairs([8, 3], [[0.25, 0.75, 1.0]] * 2, [[8, 5, 6], [4, 3, 2]], "L2")
        >>> micro_average_precision(pairs)  # 1 of 2 pairs at a lead of 0.5, 2 of 4 at 0.25
        0.5
    """
    return precision_recall(pairs, weights).average_precision


def micro_ap_interval(pairs: ScoredPairs, minus: ScoredPairs | None = None) -> Interval:
    """Bootstrap interval over queries of µAP, or of its difference to another run's.

    Args:
        pairs: The scored pairs of a run.
        minus: Those of another run over the same queries, whose µAP is subtracted.
    """

    def statistic(weights: Values) -> Values:
        values = np.array([micro_average_precision(pairs, row) for row in weights])
        if minus is not None:
            values -= [micro_average_precision(minus, row) for row in weights]
        return values

    most = max(len(run.scores) for run in (pairs, minus or pairs))
    resamples = _RESAMPLES if most < _MANY_PAIRS else _FEWER_RESAMPLES
    return bootstrap_interval(statistic, len(pairs.originals), resamples)


def _stacked(
    rows: Iterable[DetectionResult],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]]:
    """Rows as (n,), (n, k), (n, k) arrays; a new stack begins where k changes."""
    stream = iter(rows)
    while block := list(islice(stream, _ROWS_AT_ONCE)):
        sizes = [len(row.retrieved_ids) for row in block]
        starts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(block)]
        for start, end in pairwise(starts):
            part = block[start:end]
            yield (
                np.array([row.image_index for row in part], dtype=np.int64),
                np.stack([row.retrieved_distances for row in part]),
                np.stack([row.retrieved_ids for row in part]),
            )
