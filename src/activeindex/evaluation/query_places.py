"""Where queries land in the index: ``queries.csv``, one line per query beside the results files.

A copy is found when its feature still falls into the inverted list of its original and near the
reconstruction of its original's code. Neither can be read off the neighbours of a query that
missed, so a run notes both. Compared with the results files it is small: about 60 bytes per query.
"""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from activeindex.errors import InputError
from activeindex.evaluation import cells
from activeindex.evaluation.copy_detection import NO_MATCH
from activeindex.running.files import check_file

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
class QueryPlace:
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
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(
            (
                self.test,
                self.image_index,
                self.attack,
                "" if self.attack_param is None else self.attack_param,
                "" if self.cell_kept is None else int(self.cell_kept),
                _number(self.distance),
                _number(self.other_distance),
            )
        )
        return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


def read_places(path: Path) -> Iterator[QueryPlace]:
    """Reads ``queries.csv`` row by row.

    Raises:
        InputError: If a column is missing or a row is malformed; file and line are named.
    """
    check_file(path, "results")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in PLACES_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}, line 1: expected a column {missing[0]}, found none")
        for row in reader:
            try:
                yield _place(row)
            except (ValueError, OverflowError, TypeError, AttributeError) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def _place(row: dict[str, str]) -> QueryPlace:
    test = next((known for known in TESTS if known == row["test"]), None)
    if test is None:
        raise ValueError(f"expected one of {', '.join(TESTS)}, found {row['test']!r}")
    kept = row["cell_kept"].strip()
    return QueryPlace(
        test,
        cells.at_least(NO_MATCH)(row["image_index"]),
        cells.name(row["attack"]),
        cells.param(row["attack_param"]),
        bool(cells.between(0, 1)(kept)) if kept else None,
        _distance(row["distance"]),
        _distance(row["distance_other"]),
    )


def _distance(cell: str) -> float | None:
    if not cell.strip():
        return None
    value = float(cell)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"expected a distance, found {cell!r}")
    return value
