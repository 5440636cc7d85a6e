"""The CSV files of a run: ``retr_df.csv`` and ``icd_df.csv``.

A run appends lines as it goes, so writing is a header and one text line per result; the caller owns
the file. Arrays are written ``[v0 v1 … vk]``, in full, each number as the shortest text that reads
back as the same float32.

Reading takes what this package writes and what pandas makes of it: further columns, in any order,
and arrays as NumPy prints them (padded, over several lines, scientific notation).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.evaluation import cells
from activeindex.evaluation.copy_detection import NO_MATCH, DetectionResult
from activeindex.evaluation.csv_rows import CsvRow, csv_line, read_rows
from activeindex.evaluation.retrieval import RetrievalResult, attack_name

RETRIEVAL_COLUMNS = (
    "batch",
    "image_index",
    "attack",
    "attack_param",
    "retrieved_distances",
    "retrieved_indices",
    "rank",
    "r@1",
    "r@10",
    "r@100",
    "ap",
)
DETECTION_COLUMNS = ("batch", "image_index", "attack", "retrieved_distances", "retrieved_ids")

RETRIEVAL_HEADER = ",".join(RETRIEVAL_COLUMNS) + "\n"
"""First line of ``retr_df.csv``, with its line end."""
DETECTION_HEADER = ",".join(DETECTION_COLUMNS) + "\n"
"""First line of ``icd_df.csv``, with its line end."""


def format_row(result: RetrievalResult | DetectionResult) -> str:
    """The line of a result, with its line end; the same result gives the same text."""
    if isinstance(result, RetrievalResult):
        param = "" if result.attack_param is None else str(result.attack_param)
        return csv_line(
            result.batch,
            result.image_index,
            result.attack,
            param,
            _floats_text(result.retrieved_distances),
            _ints_text(result.retrieved_indices),
            result.rank,
            result.recall_at(1),
            result.recall_at(10),
            result.recall_at(100),
            result.ap,
        )
    return csv_line(
        result.batch,
        result.image_index,
        result.attack,
        _floats_text(result.retrieved_distances),
        _ints_text(result.retrieved_ids),
    )


def _floats_text(values: NDArray[np.float32]) -> str:
    return f"[{' '.join(map(str, values))}]"


def _ints_text(values: NDArray[np.int64]) -> str:
    return f"[{' '.join(map(str, values.tolist()))}]"


def read_retrieval(path: Path) -> Iterator[RetrievalResult]:
    """Reads ``retr_df.csv`` row by row.

    ``r@1``, ``r@10``, ``r@100`` and ``ap`` follow from the rank and are not read.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, _RETRIEVAL_NEEDS):
        distances, indices = _neighbours(row)
        yield RetrievalResult(
            row.value("batch", cells.whole),
            row.value("image_index", cells.at_least(0)),
            row.value("attack", cells.name),
            row.value("attack_param", cells.param) if "attack_param" in row.places else None,
            distances,
            indices,
            row.value("rank", cells.between(0, len(indices))),
        )


def read_detection(path: Path) -> Iterator[DetectionResult]:
    """Reads ``icd_df.csv`` row by row; ``attack_param``, if there is one, is passed over.

    Raises:
        InputError: If a column is missing or a row is malformed; file, line and column are named.
    """
    for row in read_rows(path, _DETECTION_NEEDS):
        distances, ids = _neighbours(row)
        yield DetectionResult(
            row.value("batch", cells.whole),
            row.value("image_index", cells.at_least(NO_MATCH)),
            row.value("attack", cells.name),
            distances,
            ids,
        )


@dataclass(frozen=True, eq=False)
class RetrievalColumns:
    """The rows of a retrieval without their neighbours: about 40 bytes each, however large k is."""

    edits: tuple[tuple[str, float | int | None], ...]
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
    def from_rows(cls, rows: Iterable[RetrievalResult]) -> Self:
        """Keeps of each row what the tables need."""
        return cls._collect(
            (row.attack, row.attack_param, row.image_index, row.rank, row.neighbours)
            for row in rows
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads ``retr_df.csv``; the neighbours are counted but not parsed.

        Raises:
            InputError: As :func:`read_retrieval`, but for numbers inside the arrays.
        """
        return cls._collect(
            (
                row.value("attack", cells.name),
                row.value("attack_param", cells.param) if "attack_param" in row.places else None,
                row.value("image_index", cells.at_least(0)),
                row.value("rank", cells.between(0, neighbours)),
                neighbours,
            )
            for row in read_rows(path, _RETRIEVAL_NEEDS)
            for neighbours in (len(row.value(_ids_column(row), cells.items)),)
        )

    @classmethod
    def _collect(cls, rows: Iterable[tuple[str, float | int | None, int, int, int]]) -> Self:
        edits: dict[tuple[str, float | int | None], int] = {}
        numbers: list[tuple[int, int, int, int]] = []
        for attack, param, image_index, rank, neighbours in rows:
            number = edits.setdefault((attack_name(attack), param), len(edits))
            numbers.append((number, image_index, rank, neighbours))
        columns = np.array(numbers, dtype=np.int64).reshape(-1, 4).T
        return cls(tuple(edits), columns[0].astype(np.int32), *columns[1:])


_IDS = ("retrieved_indices", "retrieved_ids")
_RETRIEVAL_NEEDS = ("batch", "image_index", "attack", "retrieved_distances", "rank", _IDS)
_DETECTION_NEEDS = ("batch", "image_index", "attack", "retrieved_distances", _IDS)


def _ids_column(row: CsvRow) -> str:
    return next(name for name in _IDS if name in row.places)


def _neighbours(row: CsvRow) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    distances = row.value("retrieved_distances", cells.floats)
    column = _ids_column(row)
    ids = row.value(column, cells.ints)
    if len(distances) != len(ids):
        raise InputError(
            f"{row.path}, line {row.line}, column {column}: expected as many values as "
            f"distances, {len(distances)}, found {len(ids)}"
        )
    return distances, ids
