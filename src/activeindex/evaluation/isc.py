"""Files and metrics of the Image Similarity Challenge 2021 (Papakipos et al., 2022).

A prediction is a row ``query_id,reference_id,score``; higher scores are surer. All predictions of
all queries are ranked together, those of equal score with the wrong ones first. Recall counts the
pairs of the ground truth, whether they were predicted or not, so that µAP rewards silence about
queries without an original and never a pair that is missing.

The paper's own µAP (``copy_detection``) scores a pair by its lead over the next neighbour, and
counts missed pairs at a score of -1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, takewhile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import DetectionResult, PrecisionRecallCurve
from activeindex.evaluation.csv_rows import csv_line, read_rows
from activeindex.evaluation.statistics import Interval, Values, bootstrap_interval
from activeindex.runtime.files import check_file, read_json_lines, write_text

if TYPE_CHECKING:
    from activeindex.indexing.training import Metric

MOST_PREDICTIONS = 500_000
"""Rows that the challenge accepts."""
HEADER = ("query_id", "reference_id", "score")
_PRECISION = 0.9
_RESAMPLES = 200

Truth = dict[str, set[str]]
"""References of each query; none for a query without an original."""


class Prediction(NamedTuple):
    """A pair that is claimed to be copy and original; a higher score is surer."""

    query_id: str
    reference_id: str
    score: float


@dataclass(frozen=True)
class IscResult:
    """Metrics of the challenge; ``str()`` is a table.

    Attributes:
        micro_ap: Sum over all predictions of precision times the recall that each gains.
        micro_ap_interval: Its 95 % bootstrap interval over queries.
        recall_at_p90: Highest recall at any score with a precision of 0.9 or more; 0 if there is
            none.
        threshold_at_p90: The score from which predictions are kept there; None if there is none.
        recall_at_1: Share of the ground truth's pairs that come first for their query.
        recall_at_10: Share among the first ten.
        predictions: Number of predictions.
        pairs: Number of pairs in the ground truth.
    """

    micro_ap: float
    micro_ap_interval: Interval
    recall_at_p90: float
    threshold_at_p90: float | None
    recall_at_1: float
    recall_at_10: float
    predictions: int
    pairs: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file."""
        return {**asdict(self), "micro_ap_interval": [*self.micro_ap_interval]}

    def __str__(self) -> str:
        low, high = self.micro_ap_interval
        at = "" if self.threshold_at_p90 is None else f"  from a score of {self.threshold_at_p90:g}"
        return "\n".join(
            (
                f"{self.predictions:,} predictions, {self.pairs:,} pairs in the ground truth",
                f"  µAP           {self.micro_ap:.4f}  ({low:.4f} to {high:.4f})",
                f"  recall @ P90  {self.recall_at_p90:.4f}{at}",
                f"  recall @ 1    {self.recall_at_1:.4f}",
                f"  recall @ 10   {self.recall_at_10:.4f}",
            )
        )


def evaluate_predictions(predictions: Iterable[Prediction], truth: Truth) -> IscResult:
    """Compute the challenge's metrics.

    Args:
        predictions: The predictions, in any order, no pair twice.
        truth: The ground truth; queries that it does not name have no original.

    Raises:
        InputError: If the ground truth names no pair.

    Example:
        >>> truth = {"Q0": {"R4"}, "Q1": {"R7"}, "Q2": set()}
        >>> rows = [("Q0", "R4", 0.9), ("Q2", "R4", 0.8), ("Q1", "R7", 0.7)]
        >>> result = evaluate_predictions([Prediction(*row) for row in rows], truth)
        >>> f"{result.micro_ap:.3f} {result.recall_at_p90} {result.threshold_at_p90}"
        '0.833 0.5 0.9'
    """
    rows = list(predictions)
    originals = {name: len(references) for name, references in truth.items()}
    for row in rows:
        originals.setdefault(row.query_id, 0)
    counts = np.array([*originals.values()])
    pairs = int(counts.sum())
    if not pairs:
        raise InputError("ground truth: expected rows that name a reference, found none")
    places = {name: place for place, name in enumerate(originals)}
    right = np.array([row.reference_id in truth.get(row.query_id, ()) for row in rows], dtype=bool)
    scores = np.array([row.score for row in rows], dtype=np.float64)
    order = np.lexsort((right, -scores))  # Of equal scores the wrong ones first.
    query = np.array([places[row.query_id] for row in rows], dtype=np.int64)[order]
    right, scores = right[order], scores[order]

    def curve(weights: Values) -> PrecisionRecallCurve:
        kept, found = np.cumsum(weights[query]), np.cumsum(weights[query] * right)
        precision = np.divide(found, kept, out=np.zeros_like(found), where=kept > 0)
        return PrecisionRecallCurve(scores, precision, found)

    def micro_ap(weights: Values) -> float:
        # Its precision is averaged over the pairs that were predicted; the others count as 0.
        found = curve(weights)
        if not found.found[-1:].any():
            return 0.0
        return found.average_precision * float(found.found[-1] / (weights @ counts))

    every = curve(np.ones(len(counts)))
    precise = np.where(every.precision >= _PRECISION, every.found, 0.0)
    best = int(precise.argmax()) if precise.any() else None
    ranks = _ranks(query)
    return IscResult(
        micro_ap(np.ones(len(counts))),
        bootstrap_interval(
            lambda draws: np.array([micro_ap(draw) for draw in draws if draw @ counts]),
            len(counts),
            _RESAMPLES,
        ),
        0.0 if best is None else float(precise[best] / pairs),
        None if best is None else float(scores[best]),
        float(np.count_nonzero(right & (ranks < 1)) / pairs),
        float(np.count_nonzero(right & (ranks < 10)) / pairs),
        len(rows),
        pairs,
    )


def _ranks(query: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of each prediction among those of its query, from 0; the surest come first."""
    order = np.argsort(query, kind="stable")
    starts = np.flatnonzero(np.diff(query[order], prepend=-1))
    places = np.arange(len(query))
    ranks = np.empty_like(places)
    ranks[order] = places - np.repeat(starts, np.diff(np.append(starts, len(query))))
    return ranks


def read_predictions(path: Path) -> list[Prediction]:
    """Read anybody's predictions: ``query_id,reference_id,score``, in any order.

    Raises:
        InputError: If a column is missing, a name is empty or has a comma, a score is no finite
            number, a pair comes twice, or there are more rows than the challenge accepts; the file
            and the line are named.
    """
    rows: dict[tuple[str, str], Prediction] = {}
    for row in read_rows(path, HEADER):
        pair = row.value("query_id", _name), row.value("reference_id", _name)
        if pair in rows:
            found = ",".join(pair)
            raise InputError(
                f"{path}, line {row.line}: expected each pair once, found {found} again"
            )
        if len(rows) == MOST_PREDICTIONS:
            raise InputError(
                f"{path}: expected at most {MOST_PREDICTIONS:,} predictions, found more"
            )
        rows[pair] = Prediction(*pair, row.value("score", _score))
    return [*rows.values()]


def read_truth(path: Path) -> Truth:
    """Read a ground truth: ``query_id,reference_id``, without a reference where there is none.

    Raises:
        InputError: If a column is missing, a query has no name, or no row names a reference.
    """
    truth: Truth = {}
    for row in read_rows(path, HEADER[:2]):
        references = truth.setdefault(row.value("query_id", _name), set())
        if reference := row.value("reference_id", str.strip):
            references.add(reference)
    if not any(truth.values()):
        raise InputError(f"{path}: expected rows that name a reference, found none")
    return truth


def answered(path: Path) -> list[Prediction]:
    """Predictions from what ``activeindex search --json`` printed, a line per query.

    A query is named by its file and a reference by its name in the store, both without the ending.
    The score is minus the squared distance, or the inner product: nearest first tells which.

    Raises:
        InputError: If a line is not an answer; the file and the line are named.
    """
    rows: list[Prediction] = []
    falling = 0
    check_file(path, "answers")
    for number, line in enumerate(read_json_lines(path, "an answer of search --json"), start=1):
        if "unreadable" in line:
            continue
        try:
            query = PurePath(line["query"]).stem
            near = [
                (PurePath(found["name"]).with_suffix("").as_posix(), float(found["distance"]))
                for found in line["neighbours"]
            ]
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}, line {number}: expected an answer of search --json"
            ) from None
        falling += sum(np.sign(after - before) for (_, before), (_, after) in pairwise(near))
        rows += [Prediction(query, name, distance) for name, distance in near]
    return [row._replace(score=-row.score) for row in rows] if falling >= 0 else rows


def detected(rows: Iterable[DetectionResult], metric: "Metric") -> tuple[list[Prediction], Truth]:
    """Predictions and ground truth of a run: its queries are named ``Q00000``, in their order.

    References are named by their ids in the index, ``R000000``.

    Args:
        rows: The rows of ``icd_df.csv``.
        metric: The metric of the index.
    """
    sign = -1.0 if metric == "L2" else 1.0
    predictions: list[Prediction] = []
    truth: Truth = {}
    for number, row in enumerate(rows):
        query = f"Q{number:05d}"
        truth[query] = {f"R{row.image_index:06d}"} if row.is_matching else set()
        near = zip(row.retrieved_ids.tolist(), row.retrieved_distances.tolist(), strict=True)
        predictions += [
            Prediction(query, f"R{found:06d}", sign * distance)
            for found, distance in takewhile(lambda pair: pair[0] >= 0, near)
        ]
    return predictions, truth


def write_truth(path: Path, truth: Truth) -> None:
    """Write a ground truth as :func:`read_truth` reads it.

    Raises:
        OutputError: If the file cannot be written.
    """
    rows = (
        csv_line(query, reference)
        for query, references in truth.items()
        for reference in sorted(references) or [""]
    )
    write_text(path, csv_line(*HEADER[:2]) + "".join(rows))


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> int:
    """Write predictions as the challenge reads them, the surest first; return their number.

    Of more than 500,000 the surest are kept.

    Raises:
        InputError: If a name has a comma, or a pair comes twice.
        OutputError: If the file cannot be written.
    """
    kept = sorted(predictions, key=lambda row: -row.score)[:MOST_PREDICTIONS]
    seen: set[tuple[str, str]] = set()
    for row in kept:
        for name in row[:2]:
            if "," in name or not name.isprintable():
                raise InputError(f"{path}: expected names without a comma, found {name!r}")
        if row[:2] in seen:
            raise InputError(f"{path}: expected each pair once, found {','.join(row[:2])} twice")
        seen.add(row[:2])
    lines = (csv_line(*row[:2], repr(float(row.score))) for row in kept)
    write_text(path, csv_line(*HEADER) + "".join(lines))
    return len(kept)


def _name(cell: str) -> str:
    if not (name := cell.strip()) or "," in name:
        raise ValueError("expected a name without a comma")
    return name


def _score(cell: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise ValueError("expected a finite number")
    return score
