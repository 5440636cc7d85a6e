"""The file ``queries.csv`` of a run: one line per query about its position in the index.

A copy is found when its feature still falls into the inverted list of its original and near the
reconstruction of its original's code. Neither can be read off the neighbours of a query that
missed, so a run notes both. Compared with the results files it is small: about 60 bytes per query.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from activeindex.evaluation import csv_rows as parse
from activeindex.evaluation.copy_detection import NO_MATCH
from activeindex.evaluation.csv_rows import csv_line, read_rows

Test = Literal["retrieval", "detection"]
TESTS: tuple[Test, ...] = get_args(Test)

PLACES_FILE = "queries.csv"
PLACES_HEADER = "test,image_index,attack,attack_param,cell_kept,distance,distance_other\n"
"""First line of ``queries.csv``, with its line end."""


@dataclass(frozen=True)
class QueryRecord:
    """The position of one query in the index: one row of ``queries.csv``."""

    test: Test
    """The results file that the query is in: ``retrieval`` or ``detection``."""
    image_index: int
    """The original's id in the index, or -1 for a query without one."""
    attack: str
    """The edit, possibly with details: see ``retrieval.attack_name``."""
    attack_param: float | int | None
    """The edit's strength; None for edits that have none."""
    cell_kept: bool | None
    """True if the query is in the inverted list of its original; None without lists or original."""
    distance: float | None
    """Euclidean distance of the query's feature to the reconstruction of its original's code;
    None without an original."""
    other_distance: float | None
    """The same to the reconstruction of another image's code; None if there is no other."""

    def line(self) -> str:
        """Format the row, with its line end."""
        distances = (self.distance, self.other_distance)
        return csv_line(
            self.test,
            self.image_index,
            self.attack,
            self.attack_param,
            None if self.cell_kept is None else int(self.cell_kept),
            *("" if value is None else f"{value:.5f}" for value in distances),
        )


def read_places(path: Path) -> Iterator[QueryRecord]:
    """Read ``queries.csv`` row by row.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, PLACES_HEADER.strip().split(",")):
        yield QueryRecord(
            row.value("test", _test),
            row.value("image_index", parse.whole(NO_MATCH)),
            row.value("attack", parse.edit_name),
            row.value("attack_param", parse.edit_parameter),
            row.value("cell_kept", _kept),
            row.value("distance", _distance),
            row.value("distance_other", _distance),
        )


def _test(cell: str) -> Test:
    for known in TESTS:
        if known == cell:
            return known
    raise ValueError(f"expected one of {', '.join(TESTS)}")


def _kept(cell: str) -> bool | None:
    return bool(parse.whole(0, 1)(cell)) if cell.strip() else None


def _distance(cell: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else None
    except ValueError:
        value = math.nan
    if value is not None and not 0 <= value < math.inf:
        raise ValueError("expected a distance")
    return value
