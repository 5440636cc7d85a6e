"""The results files of a run: ``retr_df.csv``, ``icd_df.csv`` and ``queries.csv``.

A run appends lines as it goes, so writing is a header and one text line per result; the caller owns
the file. Arrays are written ``[v0 v1 … vk]``, in full, each number as the shortest text that reads
back as the same float32.

Reading takes the files of this package and those of pandas: further columns, in any order, and
arrays as NumPy prints them (padded, over several lines, scientific notation).

``queries.csv`` has one line per query about its position in the index. A copy is found when its
feature still falls into the inverted list of its original and near the reconstruction of its
original's code. Neither can be read off the neighbours of a query that missed, so a run notes both.
Compared with the other files it is small: about 60 bytes per query.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation import csv_rows as parse
from activeindex.evaluation.copy_detection import NO_MATCH, DetectionResult
from activeindex.evaluation.csv_rows import CsvRow, csv_line, read_rows
from activeindex.evaluation.retrieval import EditKey, RetrievalResult, attack_name

RETRIEVAL_HEADER = (
    "batch,image_index,attack,attack_param,retrieved_distances,retrieved_indices,"
    "rank,r@1,r@10,r@100,ap\n"
)
"""First line of ``retr_df.csv``, with its line end."""
DETECTION_HEADER = (
    "batch,image_index,attack,retrieved_distances,retrieved_ids,attack_param,retrieved_indices\n"
)
"""First line of ``icd_df.csv``, with its line end.

The last two columns are the seed's names: no parameter, since queries are random compositions, and
the ids again. Files of release 0.2 lack them.
"""

Test = Literal["retrieval", "detection"]
TESTS: tuple[Test, ...] = get_args(Test)

PLACES_FILE = "queries.csv"
PLACES_HEADER = "test,image_index,attack,attack_param,cell_kept,distance,distance_other\n"
"""First line of ``queries.csv``, with its line end."""

_IDS = ("retrieved_indices", "retrieved_ids")
_DETECTION_NEEDS = ("batch", "image_index", "attack", "retrieved_distances", _IDS)
_RETRIEVAL_NEEDS = (*_DETECTION_NEEDS[:-1], "rank", _IDS)


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


def format_row(
    result: RetrievalResult | DetectionResult, detection_header: str = DETECTION_HEADER
) -> str:
    r"""Format the line of a result, with its line end; the same result gives the same text.

    Args:
        result: The result.
        detection_header: Header of the ``icd_df.csv`` that the line goes to.

    Example:
        >>> format_row(DetectionResult.from_search(0, -1, "auto", [0.5, 2.0], [4, 5]))
        '0,-1,auto,[0.5 2.0],[4 5],,[4 5]\n'
    """
    query = (result.batch, result.image_index, result.attack)
    distances = f"[{' '.join(map(str, result.retrieved_distances))}]"
    if isinstance(result, DetectionResult):
        ids = f"[{' '.join(map(str, result.retrieved_ids.tolist()))}]"
        seed_columns = (None, ids) if detection_header == DETECTION_HEADER else ()
        return csv_line(*query, distances, ids, *seed_columns)
    return csv_line(
        *query,
        result.attack_param,
        distances,
        f"[{' '.join(map(str, result.retrieved_indices.tolist()))}]",
        result.rank,
        *(result.recall_at(n) for n in (1, 10, 100)),
        result.ap,
    )


def read_retrieval(path: Path) -> Iterator[RetrievalResult]:
    """Read ``retr_df.csv`` row by row.

    ``r@1``, ``r@10``, ``r@100`` and ``ap`` follow from the rank and are not read.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, _RETRIEVAL_NEEDS):
        distances, indices = _neighbours(row)
        yield RetrievalResult(
            row.value("batch", parse.whole()),
            row.value("image_index", parse.whole(0)),
            row.value("attack", parse.edit_name),
            row.value("attack_param", parse.edit_parameter),
            distances,
            indices,
            row.value("rank", parse.whole(0, len(indices))),
        )


def read_detection(path: Path) -> Iterator[DetectionResult]:
    """Read ``icd_df.csv`` row by row; ``attack_param``, if there is one, is passed over.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, _DETECTION_NEEDS):
        yield DetectionResult(
            row.value("batch", parse.whole()),
            row.value("image_index", parse.whole(NO_MATCH)),
            row.value("attack", parse.edit_name),
            *_neighbours(row),
        )


@dataclass(frozen=True, eq=False)
class RetrievalColumns:
    """The rows of a retrieval without their neighbours: about 40 bytes each, however large k is."""

    edits: tuple[EditKey, ...]
    """The distinct (edit, parameter), in order of first appearance."""
    edit: NDArray[np.int32]
    """(n,): each row's place in ``edits``."""
    image_index: NDArray[np.int64]
    """(n,): the original's id."""
    rank: NDArray[np.int64]
    """(n,): counted from 0, k for a miss."""
    neighbours: NDArray[np.int64]
    """(n,): k."""

    @classmethod
    def from_rows(cls, rows: Iterable[RetrievalResult], name: object = "retrieval results") -> Self:
        """Keep of each row the columns that tables need.

        Args:
            rows: The rows; they may stream.
            name: Named in the error.

        Raises:
            InputError: If there is no row.
        """
        columns = (
            (row.attack, row.attack_param, row.image_index, row.rank, row.neighbours)
            for row in rows
        )
        return cls._collect(columns, name)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``retr_df.csv``; the neighbours are counted but not parsed.

        Raises:
            InputError: As :func:`read_retrieval`, but for numbers inside the arrays; if there is
                no row.
        """
        columns = (
            (
                row.value("attack", parse.edit_name),
                row.value("attack_param", parse.edit_parameter),
                row.value("image_index", parse.whole(0)),
                row.value("rank", parse.whole(0, neighbours)),
                neighbours,
            )
            for row in read_rows(path, _RETRIEVAL_NEEDS)
            for neighbours in (len(row.value(_ids_column(row), parse.items)),)
        )
        return cls._collect(columns, path)

    @classmethod
    def _collect(
        cls, rows: Iterable[tuple[str, float | int | None, int, int, int]], name: object
    ) -> Self:
        edits: dict[EditKey, int] = {}
        numbers: list[tuple[int, int, int, int]] = []
        for attack, param, image_index, rank, neighbours in rows:
            number = edits.setdefault((attack_name(attack), param), len(edits))
            numbers.append((number, image_index, rank, neighbours))
        if not numbers:
            raise InputError(f"{name}: expected at least one row, found none")
        columns = np.array(numbers, dtype=np.int64).T
        return cls(tuple(edits), columns[0].astype(np.int32), *columns[1:])


def _ids_column(row: CsvRow) -> str:
    return next(name for name in _IDS if name in row.cells)


def _neighbours(row: CsvRow) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    distances = row.value("retrieved_distances", parse.floats)
    column = _ids_column(row)
    ids = row.value(column, parse.ints)
    if len(distances) != len(ids):
        raise InputError(
            f"{row.path}, line {row.line}, column {column}: expected as many values as "
            f"distances, {len(distances)}, found {len(ids)}"
        )
    return distances, ids


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
