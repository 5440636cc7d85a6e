"""Copy detection: is the query a copy of anything in the index, decided by one threshold?

Half of the answer is to stay silent about images that are not in the index, so every retrieved
pair (query, image) gets a score and all pairs of all queries are ranked together. The score is how
much closer the image is than the next one: a copy stands out from the images behind it, while a
non-matching query has many neighbours at about the same distance.

With ``d`` the k sorted distances of a query, pair j has the score ``-d[j] + d[j + 1]``; the last
neighbour has no next one and is dropped. In an index of inner products larger is closer, and the
score is ``d[j] - d[j + 1]``. Either way it is the lead over the next neighbour, 0 or more.

FAISS fills up with id -1 where it found fewer than k, which ends the query's pairs. What it writes
as *distance* there is no distance (the largest float32). Taken literally it would give the last
image found a lead of 3.4e38 and put it above every real copy, once per query whose cell holds fewer
than k images. The lead over nothing is therefore counted as 0, the least a lead can be.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from activeindex.errors import InputError, ShapeError
from activeindex.evaluation.retrieval import neighbour_arrays

Metric = Literal["L2", "IP"]
"""How the index compares: squared Euclidean distances (less is closer) or inner products."""

NO_MATCH = -1
"""``image_index`` of a query that has no original in the index."""

MISSED_SCORE = -1.0
"""Score of a matching query's pair that was not retrieved; below every retrieved pair's."""

_LARGEST = float(np.finfo(np.float32).max)
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """What the search for one query returned: one row of ``icd_df.csv``."""

    batch: int
    """Number of the batch that the query was in."""
    image_index: int
    """The original's id in the index, or -1 for a query without one."""
    attack: str
    """The edit, possibly with details: see :func:`activeindex.evaluation.attack_name`."""
    retrieved_distances: NDArray[np.float32]
    """(k,), best first, in the index's metric."""
    retrieved_ids: NDArray[np.int64]
    """(k,), ids in the index; -1 where FAISS found fewer than k."""

    @classmethod
    def from_search(
        cls, batch: int, image_index: int, attack: str, distances: ArrayLike, ids: ArrayLike
    ) -> Self:
        """Takes over what a search returned.

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
        """Whether the query is an edit of an image in the index."""
        return self.image_index != NO_MATCH


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """All pairs of all queries, and which of them are true."""

    scores: NDArray[np.float64]
    """(pairs,)."""
    positive: NDArray[np.bool_]
    """(pairs,): the retrieved image is the query's original."""
    matching: int
    """How many queries have an original in the index."""
    non_matching: int
    """How many have none."""

    @classmethod
    def from_rows(cls, rows: Iterable[DetectionResult], metric: Metric) -> Self:
        """Scores the rows of a run; they may stream, and differ in k.

        Raises:
            InputError: If an id comes with no finite distance.
        """
        parts = [score_pairs(*batch, metric) for batch in _stacked(rows)]
        if not parts:
            return cls(np.empty(0), np.empty(0, dtype=bool), 0, 0)
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.positive for part in parts]),
            sum(part.matching for part in parts),
            sum(part.non_matching for part in parts),
        )


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall of keeping the pairs that score at least a threshold."""

    thresholds: NDArray[np.float64]
    """(T,): the distinct scores, highest first."""
    precision: NDArray[np.float64]
    """(T,), in [0, 1]."""
    recall: NDArray[np.float64]
    """(T,), in [0, 1], never decreasing; nan if there is no positive pair."""

    @property
    def average_precision(self) -> float:
        """The step-wise area, sum of precision times the recall gained; nan without positives."""
        return float(np.sum(self.precision * np.diff(self.recall, prepend=0.0)))


def score_pairs(
    image_indices: ArrayLike, distances: ArrayLike, ids: ArrayLike, metric: Metric
) -> ScoredPairs:
    """Scores the retrieved pairs of some queries, as the module describes.

    Args:
        image_indices: (n,) ids of the originals, -1 for queries without one.
        distances: (n, k), best first in each row.
        ids: (n, k), -1 where nothing was found; what follows a -1 is not read.
        metric: Whether less or more is closer.

    Returns:
        The pairs, query by query, then one of score -1 per matching query whose original is in
        none of its pairs.

    Raises:
        ShapeError: If the three do not belong together.
        InputError: If the metric is unknown, or an id comes with no finite distance.
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

    matching = originals != NO_MATCH
    positive = (numbers[:, :-1] == originals[:, None]) & kept
    missed = int(np.count_nonzero(matching & ~positive.any(axis=1)))
    return ScoredPairs(
        np.concatenate([scores[kept], np.full(missed, MISSED_SCORE)]),
        np.concatenate([positive[kept], np.ones(missed, dtype=bool)]),
        int(np.count_nonzero(matching)),
        int(np.count_nonzero(~matching)),
    )


def precision_recall(pairs: ScoredPairs) -> PrecisionRecallCurve:
    """Precision and recall at every distinct score; pairs of equal score are kept together."""
    order = np.argsort(pairs.scores, kind="stable")[::-1]
    scores = pairs.scores[order]
    last_of_score = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))
    true_kept = np.cumsum(pairs.positive[order])[last_of_score]
    positives = int(np.count_nonzero(pairs.positive))
    recall = true_kept / positives if positives else np.full(len(last_of_score), np.nan)
    return PrecisionRecallCurve(scores[last_of_score], true_kept / (last_of_score + 1), recall)


def micro_average_precision(pairs: ScoredPairs) -> float:
    """µAP: average precision over all pairs of all queries together, in [0, 1].

    Returns:
        The area under :func:`precision_recall`; nan if there is no matching query.
    """
    if not pairs.positive.any():
        return float("nan")
    return precision_recall(pairs).average_precision


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
