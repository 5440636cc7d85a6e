"""Two runs over the same images: the paired difference per edit, and whether it may be chance."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation.csv_files import RetrievalColumns
from activeindex.evaluation.intervals import (
    Interval,
    holm_adjusted,
    mcnemar_test,
    mean_of_means_interval,
    paired_interval,
    sign_flip_test,
)
from activeindex.evaluation.tables import Edit, edit_label


@dataclass(frozen=True, eq=False)
class HitTable:
    """Whether each image was found first, under each edit.

    Attributes:
        edits: The edits, in order of first appearance.
        images: ``(images,)``: their numbers, sorted.
        hits: ``(edits, images)``: 1 found, 0 missed, nan no such query; between them where one
            edit has several queries of an image.
    """

    edits: tuple[Edit, ...]
    images: NDArray[np.int64]
    hits: NDArray[np.float64]

    @classmethod
    def from_columns(cls, columns: RetrievalColumns, first_id: int = 0) -> Self:
        """Arranges the queries of a run.

        Args:
            columns: The queries.
            first_id: Taken off the ids, so that the runs of two collections can be paired.

        Raises:
            InputError: If there is no query.
        """
        if not columns.edits:
            raise InputError("retrieval results: expected at least one row, found none")
        images, place = np.unique(columns.image_index, return_inverse=True)
        shape = len(columns.edits), len(images)
        found, asked = np.zeros(shape), np.zeros(shape)
        # With k = 0 neighbours a miss has rank 0 as well.
        first = (columns.rank == 0) & (columns.neighbours > 0)
        np.add.at(found, (columns.edit, place), first)
        np.add.at(asked, (columns.edit, place), 1)
        with np.errstate(invalid="ignore"):
            return cls(columns.edits, images - first_id, found / asked)

    def select(self, edits: tuple[Edit, ...]) -> "HitTable":
        """The rows of some edits."""
        rows = [self.edits.index(edit) for edit in edits]
        return HitTable(edits, self.images, self.hits[rows])

    @property
    def average(self) -> float:
        """Mean of the edits' means."""
        return float(np.nanmean(np.nanmean(self.hits, axis=1)))

    @property
    def average_interval(self) -> Interval:
        """Of :attr:`average`, by bootstrap over images."""
        return mean_of_means_interval(self.hits)


@dataclass(frozen=True)
class PairedRow:
    """R@1 of two runs over the queries that both have, for one edit."""

    edit: Edit
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
        """The edit as a table shows it."""
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
    """What distinguishes two runs."""

    rows: tuple[PairedRow, ...]
    average: PairedAverage

    @classmethod
    def between(cls, first: HitTable, second: HitTable) -> Self:
        """Pairs the queries of two runs by image and edit.

        Raises:
            InputError: If they have no query in common.
        """
        edits = tuple(edit for edit in first.edits if edit in second.edits)
        images, mine, theirs = np.intersect1d(first.images, second.images, return_indices=True)
        if not edits or not len(images):
            what = "edit" if not edits else "image"
            raise InputError(f"runs: expected the same images and edits, found no {what} in both")
        hits = first.select(edits).hits[:, mine], second.select(edits).hits[:, theirs]
        counted = [_row(edit, *rows) for edit, *rows in zip(edits, *hits, strict=True)]
        rows = [row for row in counted if row is not None]
        if not rows:
            raise InputError("runs: expected the same images and edits, found no query in both")
        adjusted = holm_adjusted([row.p for row in rows])
        return cls(
            tuple(replace(row, p_adjusted=p) for row, p in zip(rows, adjusted, strict=True)),
            _average(*hits),
        )


def _row(edit: Edit, first: NDArray[np.float64], second: NDArray[np.float64]) -> PairedRow | None:
    both = np.isfinite(first) & np.isfinite(second)
    queries = int(np.count_nonzero(both))
    if not queries:
        return None
    mine, theirs = first[both], second[both]
    # Several queries of an image count as one that is found if most of them are.
    only_first = int(np.count_nonzero((mine >= 0.5) & (theirs < 0.5)))
    only_second = int(np.count_nonzero((theirs >= 0.5) & (mine < 0.5)))
    p = mcnemar_test(only_second, only_first)
    return PairedRow(
        edit,
        queries,
        float(mine.mean()),
        float(theirs.mean()),
        only_first,
        only_second,
        paired_interval(only_second, only_first, queries),
        p,
        p,
    )


def _average(first: NDArray[np.float64], second: NDArray[np.float64]) -> PairedAverage:
    both = np.isfinite(first) & np.isfinite(second)
    mine, theirs = np.where(both, first, np.nan), np.where(both, second, np.nan)
    known = both.any(axis=1)
    gains = (theirs - mine)[known]
    per_image = np.nan_to_num(np.nanmean(gains[:, both.any(axis=0)], axis=0))
    means = [float(np.nanmean(np.nanmean(hits[known], axis=1))) for hits in (mine, theirs)]
    return PairedAverage(
        int(np.count_nonzero(both.any(axis=0))),
        means[0],
        means[1],
        mean_of_means_interval(gains),
        sign_flip_test(per_image),
    )


def shown_p(p: float) -> str:
    """A p-value as a table shows it, e.g. ``"0.031"`` or ``"<0.0001"``."""
    if math.isnan(p):
        return "-"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.001 else f"{p:.3f}"
