"""Rows of CSV files whose columns have names.

A run appends lines as it goes, so writing is one text line per row; the caller owns the file.
Reading is one row at a time, so a file of any length fits in memory, and takes columns in any order
and further ones. Every fault is told with its line and, where there is one, its column.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from activeindex.errors import InputError
from activeindex.runtime.files import check_file

if TYPE_CHECKING:
    import _csv

_T = TypeVar("_T")

# An array of 100,000 neighbours is 1 MB; the csv module stops at 128 KiB unless told otherwise. A
# limit stays, so that a quote that is never closed is found before it has swallowed the memory.
_LONGEST_CELL = 1 << 26
_SHOWN = 40


@dataclass(frozen=True)
class CsvRow:
    """One row of a file, and enough to say where a fault is.

    Attributes:
        path: The file.
        line: Where in it the row begins, counted from 1.
        values: The cells.
        places: The place of each column among them.
    """

    path: Path
    line: int
    values: Sequence[str]
    places: dict[str, int]

    def value(self, column: str, parse: Callable[[str], _T]) -> _T:
        """What a cell says.

        Args:
            column: The name of a column that is there.
            parse: Raises a ValueError that says what was expected.

        Raises:
            InputError: If the cell does not say such a thing.
        """
        cell = self.values[self.places[column]]
        try:
            return parse(cell)
        except (ValueError, OverflowError) as error:
            found = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…"
            raise InputError(
                f"{self.path}, line {self.line}, column {column}: {error}, found {found!r}"
            ) from None


def csv_line(*values: str | int | float | None) -> str:
    """A row as text, with its line end."""
    text = io.StringIO()
    # The csv module quotes the characters of its own line end only: "\r" has to be among them.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_text(lines: Iterable[Sequence[str | int | float | None]]) -> str:
    """Rows as text."""
    return "".join(csv_line(*line) for line in lines)


def read_rows(path: Path, needed: Sequence[str | tuple[str, ...]]) -> Iterator[CsvRow]:
    """Reads a file row by row; its first line names the columns.

    Args:
        path: The file, a user's ``results``.
        needed: Columns that have to be there; of several names in a tuple, one.

    Raises:
        InputError: If there is no such file, it is no CSV in UTF-8, a column is missing, or a row
            has more or fewer cells than the first.
    """
    check_file(path, "results")
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        records = _records(path, reader)
        _, header = next(records, (1, []))
        places = {name.strip(): place for place, name in reversed([*enumerate(header)])}
        for column in needed:
            names = (column,) if isinstance(column, str) else column
            if not any(name in places for name in names):
                raise InputError(
                    f"{path}, line 1: expected a column {' or '.join(names)}, found none"
                )
        for line, values in records:
            if len(values) != len(header):
                raise InputError(
                    f"{path}, line {line}: expected {len(header)} columns, found {len(values)}"
                )
            yield CsvRow(path, line, values, places)


def _records(path: Path, reader: "_csv.Reader") -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, with the number of the line where it begins."""
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
