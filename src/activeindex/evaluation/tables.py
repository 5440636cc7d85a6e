"""Tables of a run: recall per edit, and copy detection in one number."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import (
    DetectionResult,
    ScoredPairs,
    micro_average_precision,
)
from activeindex.evaluation.csv_files import RetrievalColumns, read_detection
from activeindex.evaluation.retrieval import EditKey, RetrievalResult
from activeindex.evaluation.statistics import Values
from activeindex.runtime.reporting import printable

if TYPE_CHECKING:
    from activeindex.indexing.training import Metric

Measure = Literal["R@1", "R@10", "R@100", "mAP"]
MEASURES: tuple[Measure, ...] = ("R@1", "R@10", "R@100", "mAP")

PUBLISHED_EDITS: tuple[EditKey, ...] = (
    ("none", None),
    ("contrast", 0.5),
    ("contrast", 2.0),
    ("brightness", 0.5),
    ("brightness", 2.0),
    ("hue", 0.2),
    ("blur", 11),
    ("jpeg", 50),
    ("rotation", 25),
    ("rotation", 90),
    ("center_crop", 0.5),
    ("resize", 0.5),
    ("meme_format", None),
    ("auto", None),
)
"""The edits behind the published averages (Fernandez et al., Active Image Indexing, ICLR 2023).
A run has one more, ``overlay_onto_screenshot``, that is not among their columns."""


def edit_label(edit: EditKey) -> str:
    """Label of an edit in tables; a name from a stranger's file is escaped for terminals.

    Example:
        >>> edit_label(("rotation", 25.0)), edit_label(("auto", None))
        ('rotation 25', 'auto')
    """
    name, parameter = edit
    return printable(name if parameter is None else f"{name} {parameter:g}")


@dataclass(frozen=True)
class RecallRow:
    """Mean recall and average precision of the queries made by one edit, all in [0, 1]."""

    attack: str
    attack_param: float | int | None
    queries: int
    """Number of queries that the means are over."""
    r_at_1: float
    r_at_10: float
    r_at_100: float
    mean_ap: float

    @property
    def edit(self) -> EditKey:
        """The edit and its parameter."""
        return self.attack, self.attack_param

    @property
    def label(self) -> str:
        """The edit's label in tables, e.g. ``"rotation 25"``."""
        return edit_label(self.edit)

    @property
    def values(self) -> dict[Measure, float]:
        """The four measures by their names."""
        figures = (self.r_at_1, self.r_at_10, self.r_at_100, self.mean_ap)
        return dict(zip(MEASURES, figures, strict=True))


@dataclass(frozen=True)
class RecallTable:
    """Recall of a run per edit, the edits in order of first appearance."""

    rows: tuple[RecallRow, ...]

    @classmethod
    def from_columns(cls, columns: RetrievalColumns) -> Self:
        """Average the queries of each edit."""
        queries = np.bincount(columns.edit, minlength=len(columns.edits))

        def mean(values: Values) -> list[float]:
            sums = np.bincount(columns.edit, weights=values, minlength=len(columns.edits))
            means: list[float] = (sums / queries).tolist()
            return means

        recalls = [
            mean((columns.rank < np.minimum(n, columns.neighbours)).astype(np.float64))
            for n in (1, 10, 100)
        ]
        # Average precision with one true image, RetrievalResult.ap, of all queries at once.
        precision = mean(1.0 / (columns.rank + 1))
        rows = zip(columns.edits, queries.tolist(), *recalls, precision, strict=True)
        return cls(tuple(RecallRow(*edit, *numbers) for edit, *numbers in rows))

    @classmethod
    def from_rows(cls, rows: Iterable[RetrievalResult]) -> Self:
        """Average the queries of each edit; the rows may stream.

        Raises:
            InputError: If there is no row.
        """
        return cls.from_columns(RetrievalColumns.from_rows(rows))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the table of a ``retr_df.csv``.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        return cls.from_columns(RetrievalColumns.read(path))

    @property
    def edits(self) -> tuple[EditKey, ...]:
        """The edits of the rows, in their order."""
        return tuple(row.edit for row in self.rows)

    def select(self, edits: Collection[EditKey]) -> "RecallTable":
        """The rows of some edits, e.g. of :data:`PUBLISHED_EDITS`, in the order they have here."""
        return RecallTable(tuple(row for row in self.rows if row.edit in edits))

    @property
    def average(self) -> RecallRow:
        """Mean of the edits' means, the unedited images being one of them.

        Each edit counts the same, however many queries it has.

        Raises:
            InputError: If the table is empty.
        """
        if not self.rows:
            raise InputError("retrieval results: expected at least one edit, found none")
        means = [math.fsum(r.values[m] for r in self.rows) / len(self.rows) for m in MEASURES]
        return RecallRow("avg", None, sum(row.queries for row in self.rows), *means)


@dataclass(frozen=True)
class DetectionSummary:
    """Copy detection of a run in one number."""

    micro_ap: float
    """µAP over all pairs of all queries, in [0, 1]; nan without matching queries."""
    matching: int
    """Queries that are edits of an image in the index."""
    non_matching: int
    """Queries that are not."""
    pairs: int
    """Pairs ranked, those missed included."""

    @classmethod
    def from_rows(cls, rows: Iterable[DetectionResult], metric: "Metric") -> Self:
        """Score and rank the rows of a run; they may stream."""
        pairs = ScoredPairs.from_rows(rows, metric)
        precision = micro_average_precision(pairs)
        return cls(precision, pairs.matching, pairs.non_matching, len(pairs.scores))

    @classmethod
    def read(cls, path: Path, metric: "Metric") -> Self:
        """Read the summary of an ``icd_df.csv``.

        Args:
            path: The file.
            metric: The metric of the index; the file does not say.

        Raises:
            InputError: If the file is malformed.
        """
        return cls.from_rows(read_detection(path), metric)


def copies_found(runs: Mapping[str, RecallTable]) -> str:
    """Count the copies that some runs find first, in one sentence.

    Example:
        >>> rows = (RecallRow("hflip", None, 10, 0.6, 1.0, 1.0, 0.8),)
        >>> copies_found({"untouched": RecallTable(rows), "paper": RecallTable(rows)})
        'Edited copies found: 6 of 10 (untouched), 6 of 10 (paper).'
    """
    counts = {
        name: (round(sum(row.queries * row.r_at_1 for row in table.rows)), table.average.queries)
        for name, table in runs.items()
    }
    found = ", ".join(f"{hits:,} of {asked:,} ({name})" for name, (hits, asked) in counts.items())
    return f"Edited copies found: {found}."
