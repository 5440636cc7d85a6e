"""Where queries land in the index: ``queries.csv``, one line per query beside the results files.

A copy is found when its feature still falls into the inverted list of its original and near the
reconstruction of its original's code. Neither can be read off the neighbours of a query that
missed, so a run notes both. Compared with the results files it is small: about 60 bytes per query.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from activeindex.evaluation import cells
from activeindex.evaluation.copy_detection import NO_MATCH
from activeindex.evaluation.csv_rows import csv_line, read_rows

Test = Literal["retrieval", "detection"]
TESTS: tuple[Test, ...] = get_args(Test)

PLACES_FILE = "queries.csv"
PLACES_COLUMNS = (
    "test",
    "image_index",
    "attack",
    "attack_param",
    "cell_kept",
    "distance",
    "distance_other",
)
PLACES_HEADER = ",".join(PLACES_COLUMNS) + "\n"
"""First line of ``queries.csv``, with its line end."""


@dataclass(frozen=True)
class QueryRecord:
    """Where one query landed: one row of ``queries.csv``."""

    test: Test
    """The results file that the query is in: ``retrieval`` or ``detection``."""
    image_index: int
    """The original's id in the index, or -1 for a query without one."""
    attack: str
    """The edit, possibly with details: see :func:`activeindex.evaluation.attack_name`."""
    attack_param: float | int | None
    """The edit's strength; ``None`` for edits that have none."""
    cell_kept: bool | None
    """Whether the query is in the inverted list of its original; ``None`` without lists or
    original."""
    distance: float | None
    """Euclidean distance of the query's feature to the reconstruction of its original's code;
    ``None`` without an original."""
    other_distance: float | None
    """The same to the reconstruction of another image's code; ``None`` if there is no other."""

    def line(self) -> str:
        """The row as text, with its line end."""
        return csv_line(
            self.test,
            self.image_index,
            self.attack,
            "" if self.attack_param is None else self.attack_param,
            "" if self.cell_kept is None else int(self.cell_kept),
            _number(self.distance),
            _number(self.other_distance),
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


def read_places(path: Path) -> Iterator[QueryRecord]:
    """Reads ``queries.csv`` row by row.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, PLACES_COLUMNS):
        yield QueryRecord(
            row.value("test", _test),
            row.value("image_index", cells.at_least(NO_MATCH)),
            row.value("attack", cells.name),
            row.value("attack_param", cells.param),
            row.value("cell_kept", _kept),
            row.value("distance", _distance),
            row.value("distance_other", _distance),
        )


def _test(cell: str) -> Test:
    test = next((known for known in TESTS if known == cell), None)
    if test is None:
        raise ValueError(f"expected one of {', '.join(TESTS)}")
    return test


def _kept(cell: str) -> bool | None:
    return bool(cells.between(0, 1)(cell)) if cell.strip() else None


def _distance(cell: str) -> float | None:
    if not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("expected a distance")
    return value
