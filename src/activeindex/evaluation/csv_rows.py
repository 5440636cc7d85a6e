"""Rows of CSV files with named columns, and the parsers of their cells.

A run appends lines as it goes, so writing is one text line per row; the caller owns the file.
Reading is one row at a time, so a file of any length fits in memory, and takes columns in any order
and further ones. An error names the file, the line and, where there is one, the column. A parser
raises a ValueError that says what it expected.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from activeindex.errors import InputError
from activeindex.runtime.files import check_file

_T = TypeVar("_T")

# An array of 100,000 neighbours is 1 MB; the csv module stops at 128 KiB unless told otherwise. A
# limit stays, so that a quote that is never closed is found before it has swallowed the memory.
_LONGEST_CELL = 1 << 26
_SHOWN = 40


@dataclass(frozen=True)
class CsvRow:
    """One row of a file.

    Attributes:
        path: The file.
        line: Number of the line where the row begins, counted from 1.
        cells: The cells by their columns.
    """

    path: Path
    line: int
    cells: dict[str, str]

    def value(self, column: str, parse: Callable[[str], _T]) -> _T:
        """Parse a cell; one of a column that is not there is empty.

        Raises:
            InputError: If the parser refuses it.
        """
        cell = self.cells.get(column, "")
        try:
            return parse(cell)
        except (ValueError, OverflowError) as error:
            found = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…"
            raise InputError(
                f"{self.path}, line {self.line}, column {column}: {error}, found {found!r}"
            ) from None


def csv_line(*values: str | int | float | None) -> str:
    r"""Format a row, with its line end.

    Example:
        >>> csv_line("a, b", 0.5, None)
        '"a, b",0.5,\n'
    """
    text = io.StringIO()
    # The csv module quotes the characters of its own line end only: "\r" has to be among them.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_text(lines: Iterable[Sequence[str | int | float | None]]) -> str:
    """Format rows."""
    return "".join(csv_line(*line) for line in lines)


def read_rows(path: Path, needed: Sequence[str | tuple[str, ...]]) -> Iterator[CsvRow]:
    """Read a file row by row; its first line names the columns.

    Args:
        path: The file, a user's ``results``.
        needed: Columns that have to be there; of several names in a tuple, one.

    Raises:
        InputError: If there is no such file, it is not CSV in UTF-8, a column is missing, or a row
            has more or fewer cells than the first.
    """
    check_file(path, "results")
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = _records(path, file)
        _, header = next(records, (1, []))
        columns = [name.strip() for name in header]
        for column in needed:
            names = (column,) if isinstance(column, str) else column
            if not any(name in columns for name in names):
                raise InputError(
                    f"{path}, line 1: expected a column {' or '.join(names)}, found none"
                )
        for line, values in records:
            if len(values) != len(columns):
                raise InputError(
                    f"{path}, line {line}: expected {len(columns)} columns, found {len(values)}"
                )
            # Of two columns with one name the first counts.
            pairs = zip(reversed(columns), reversed(values), strict=True)
            yield CsvRow(path, line, dict(pairs))


def _records(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, with the number of the line where it begins."""
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}, line {line}: expected CSV in UTF-8, found something else ({error})"
            ) from None
        if values is None:
            return
        if values:
            yield line, values


def items(cell: str) -> list[str]:
    """The texts of an array's numbers."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        raise ValueError("expected an array [v0 v1 …] in full")
    return text[1:-1].split()


def floats(cell: str) -> NDArray[np.float32]:
    """Array of numbers, float32 (k,); ``nan`` and ``inf`` are numbers."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(item) for item in items(cell)], dtype=np.float32)
    except ValueError:
        raise _no_array("numbers", cell) from None


def ints(cell: str) -> NDArray[np.int64]:
    """Array of whole numbers, int64 (k,)."""
    try:
        return np.array([int(item) for item in items(cell)], dtype=np.int64)
    except (ValueError, OverflowError):
        raise _no_array("whole numbers", cell) from None


def _no_array(called: str, cell: str) -> ValueError:
    """The error of an array; NumPy's own text of more than 1000 numbers cannot be read."""
    hint = " (NumPy left numbers out at '...')" if "..." in cell else ""
    return ValueError(f"expected {called} [v0 v1 …] in full{hint}")


def whole(least: float = -math.inf, most: float = math.inf) -> Callable[[str], int]:
    """Parser of whole numbers from ``least`` to ``most``."""

    def parse(cell: str) -> int:
        try:
            value = int(cell)
        except ValueError:
            raise ValueError("expected a whole number") from None
        if not least <= value <= most:
            beyond = "or more" if most == math.inf else f"to {most}"
            raise ValueError(f"expected {least} {beyond}")
        return value

    return parse


def edit_name(cell: str) -> str:
    """An edit's name; not empty."""
    if not cell.strip():
        raise ValueError("expected the name of an edit")
    return cell


def edit_parameter(cell: str) -> float | int | None:
    """An edit's parameter; None for an empty cell, or pandas' nan."""
    text = cell.strip()
    if text in ("", "nan", "NaN", "None"):
        return None
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number or nothing") from None
