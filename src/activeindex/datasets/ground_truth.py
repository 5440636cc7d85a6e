"""DISC21's ground truth: the reference image that each query was made from, if any."""

import csv
import re
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import check_file

_QUERY = re.compile(r"Q\d+")
_REFERENCE = re.compile(r"R\d+")
_HEADER = ["query_id", "reference_id"]
_SHOWN = 40


def read_ground_truth(path: Path) -> dict[str, int]:
    """Read the rows ``Q#####,R######``; the reference side is empty for a query without a match.

    Args:
        path: ``dev_queries_groundtruth.csv``; a first line ``query_id,reference_id`` is skipped.

    Returns:
        Each reference that occurs, with the number of the line where it first does.

    Raises:
        InputError: If the file is missing, a row is malformed or no row names a reference.
    """
    check_file(path, "ground truth")
    references: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) and len(cells) < 2:
                    continue
                if reader.line_num == 1 and cells == _HEADER:
                    continue
                reference = _reference(path, reader.line_num, cells)
                if reference:
                    references.setdefault(reference, reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}, line {reader.line_num + 1}: expected CSV in UTF-8, "
                f"found something else ({error})"
            ) from None
    if not references:
        raise InputError(f"{path}: expected rows Q#####,R######, found none that names a reference")
    return references


def _reference(path: Path, line: int, cells: list[str]) -> str:
    if len(cells) == 2:
        query, reference = cells
        if _QUERY.fullmatch(query) and (not reference or _REFERENCE.fullmatch(reference)):
            return reference
    found = ",".join(cells)
    shown = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
    raise InputError(f"{path}, line {line}: expected Q#####,R###### or Q#####, found {shown!r}")
