"""The cells of a results file: each parser raises a ValueError that says what was expected."""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def items(cell: str) -> list[str]:
    """The texts of an array's numbers."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        raise ValueError("expected an array [v0 v1 …] in full")
    return text[1:-1].split()


def floats(cell: str) -> NDArray[np.float32]:
    """An array of numbers, float32 (k,); ``nan`` and ``inf`` are numbers."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(item) for item in items(cell)], dtype=np.float32)
    except ValueError:
        raise ValueError(f"expected numbers [v0 v1 …] in full{_abbreviated(cell)}") from None


def ints(cell: str) -> NDArray[np.int64]:
    """An array of whole numbers, int64 (k,)."""
    try:
        return np.array([int(item) for item in items(cell)], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"expected whole numbers [v0 v1 …] in full{_abbreviated(cell)}") from None


def _abbreviated(cell: str) -> str:
    """Why NumPy's own text of more than 1000 numbers cannot be read."""
    return " (NumPy left numbers out at '...')" if "..." in cell else ""


def whole(cell: str) -> int:
    """A whole number."""
    try:
        return int(cell)
    except ValueError:
        raise ValueError("expected a whole number") from None


def at_least(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` on."""

    def parse(cell: str) -> int:
        value = whole(cell)
        if value < least:
            raise ValueError(f"expected {least} or more")
        return value

    return parse


def between(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` to ``most``."""

    def parse(cell: str) -> int:
        value = whole(cell)
        if not least <= value <= most:
            raise ValueError(f"expected {least} to {most}")
        return value

    return parse


def name(cell: str) -> str:
    """An edit's name; not empty."""
    if not cell.strip():
        raise ValueError("expected the name of an edit")
    return cell


def param(cell: str) -> float | int | None:
    """An edit's parameter; ``None`` for an empty cell, or pandas' nan."""
    text = cell.strip()
    if text in ("", "nan", "NaN", "None"):
        return None
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number or nothing") from None
