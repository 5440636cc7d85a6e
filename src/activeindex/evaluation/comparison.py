"""Paired comparison of two runs: the difference per edit, and its significance."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import ScoredPairs, micro_ap_interval
from activeindex.evaluation.csv_files import RetrievalColumns
from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.statistics import (
    Interval,
    Values,
    holm_adjusted,
    mcnemar_test,
    mean_of_means_interval,
    paired_interval,
    sign_flip_test,
)
from activeindex.evaluation.tables import edit_label


@dataclass(frozen=True, eq=False)
class HitTable:
    """Hits at rank 1 by edit and image.

    Attributes:
        edits: The edits, in order of first appearance.
        images: ``(images,)``: their numbers, sorted.
        hits: ``(edits, images)``: 1 found, 0 missed, nan no such query; between them where one
            edit has several queries of an image.
    """

    edits: tuple[EditKey, ...]
    images: NDArray[np.int64]
    hits: Values

    @classmethod
    def from_columns(cls, columns: RetrievalColumns, first_id: int = 0) -> Self:
        """Arrange the queries of a run.

        Args:
            columns: The queries.
            first_id: Subtracted from the ids, so that the runs of two collections can be paired.
        """
        images, place = np.unique(columns.image_index, return_inverse=True)
        shape = len(columns.edits), len(images)
        found, asked = np.zeros(shape), np.zeros(shape)
        # With k = 0 neighbours a miss has rank 0 as well.
        first = (columns.rank == 0) & (columns.neighbours > 0)
        np.add.at(found, (columns.edit, place), first)
        np.add.at(asked, (columns.edit, place), 1)
        with np.errstate(invalid="ignore"):
            return cls(columns.edits, images - first_id, found / asked)

    def select(self, edits: tuple[EditKey, ...]) -> "HitTable":
        """The rows of some edits."""
        rows = [self.edits.index(edit) for edit in edits]
        return HitTable(edits, self.images, self.hits[rows])

    @property
    def average(self) -> float:
        """Mean of the edits' means."""
        return float(np.nanmean(np.nanmean(self.hits, axis=1)))

    @property
    def average_estimate(self) -> tuple[float, Interval]:
        """:attr:`average` and its interval, by bootstrap over images."""
        return self.average, mean_of_means_interval(self.hits)


@dataclass(frozen=True)
class PairedRow:
    """R@1 of two runs over the queries that both have, for one edit."""

    edit: EditKey
    queries: int
    first: float
    second: float
    only_first: int
    """Queries that only the first run found."""
    only_second: int
    """Queries that only the second run found."""
    interval: Interval
    """Of the difference (Bonett and Price)."""
    p: float
    """Of McNemar's exact test, for this edit alone."""
    p_adjusted: float
    """The same for all edits together (Holm)."""

    @property
    def label(self) -> str:
        """The edit's label in tables."""
        return edit_label(self.edit)

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class PairedAverage:
    """The averages over edits of two runs, over the images that both have."""

    images: int
    first: float
    second: float
    interval: Interval
    """Of the difference (bootstrap over images)."""
    p: float
    """Of a sign-flip test over images."""

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class PairedComparison:
    """R@1 of two runs, paired by edit and image."""

    rows: tuple[PairedRow, ...]
    average: PairedAverage

    @classmethod
    def between(cls, first: HitTable, second: HitTable) -> Self:
        """Pair the queries of two runs by image and edit.

        Raises:
            InputError: If they have no query in common.
        """
        edits = tuple(edit for edit in first.edits if edit in second.edits)
        images, mine, theirs = np.intersect1d(first.images, second.images, return_indices=True)
        if not edits or not len(images):
            common = "edit" if not edits else "image"
            raise InputError(f"runs: expected the same images and edits, found no {common} in both")
        hits = first.select(edits).hits[:, mine], second.select(edits).hits[:, theirs]
        both = np.isfinite(hits[0]) & np.isfinite(hits[1])
        if not both.any():
            raise InputError("runs: expected the same images and edits, found no query in both")
        rows = [
            _row(edit, mine[known], theirs[known])
            for edit, mine, theirs, known in zip(edits, *hits, both, strict=True)
            if known.any()
        ]
        adjusted = holm_adjusted([row.p for row in rows])
        return cls(
            tuple(replace(row, p_adjusted=p) for row, p in zip(rows, adjusted, strict=True)),
            _average(*(np.where(both, values, np.nan) for values in hits)),
        )


def _row(edit: EditKey, first: Values, second: Values) -> PairedRow:
    # Several queries of an image count as one that is found if most of them are.
    only_first = int(np.count_nonzero((first >= 0.5) & (second < 0.5)))
    only_second = int(np.count_nonzero((second >= 0.5) & (first < 0.5)))
    p = mcnemar_test(only_second, only_first)
    return PairedRow(
        edit,
        len(first),
        float(first.mean()),
        float(second.mean()),
        only_first,
        only_second,
        paired_interval(only_second, only_first, len(first)),
        p,
        p,
    )


def _average(first: Values, second: Values) -> PairedAverage:
    """Averages of hits ``(edits, images)``, nan where a run lacks the query."""
    edits, images = np.isfinite(first).any(axis=1), np.isfinite(first).any(axis=0)
    gains = (second - first)[edits]
    per_image = np.nan_to_num(np.nanmean(gains[:, images], axis=0))
    means = [float(np.nanmean(np.nanmean(hits[edits], axis=1))) for hits in (first, second)]
    return PairedAverage(
        int(np.count_nonzero(images)),
        means[0],
        means[1],
        mean_of_means_interval(gains),
        sign_flip_test(per_image),
    )


def paired_difference(first: ScoredPairs, second: ScoredPairs) -> Interval | None:
    """Interval of the second's µAP minus the first's, by bootstrap over the queries.

    Returns:
        None if the two runs did not have the same queries.
    """
    same = np.array_equal(first.originals, second.originals)
    return micro_ap_interval(second, minus=first) if same else None
