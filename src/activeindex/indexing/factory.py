"""FAISS factory strings: checks before FAISS sees one, and suggestions for mistyped ones.

FAISS takes numbers as they are: some end the process (``IVF0``), others ask for terabytes.
"""

import difflib
import re
from collections.abc import Callable, Iterator

from activeindex.errors import InputError

_LONGEST = 200
"""Characters; FAISS's parser is recursive."""
_LISTS = re.compile(r"IVF(\d+)")
_BITS = re.compile(r"(?:IMI\d+|PRQ\d+x\d+|RQ\d+|PQ\d+)x(\d+)")
_EIGHT_BITS = re.compile(r"PQ\d+(?![\dx])")
_MOST_BITS = 30
"""FAISS refuses more."""
_REDUCED = re.compile(r"(?:PCAW?R?|ITQ)(\d+)")
_PARTS = (
    *("Flat", "IVF#", "IVF#_HNSW#", "IMI#x#", "HNSW#", "NSG#", "LSH", "IDMap", "RFlat"),
    *("PQ#", "PQ#x#", "PQ#x#np", "PQ#np", "PQ#x#fs", "RQ#x#", "LSQ#x#", "PRQ#x#x#", "PLSQ#x#x#"),
    *("SQ#", "SQfp#", "SQbf#", "OPQ#", "OPQ#_#", "PCA#", "PCAR#", "PCAW#", "PCAWR#", "RR#"),
    *("ITQ#", "Pad#", "L#norm", "NAP#", "RaBitQ"),
)
"""Parts of factory strings, with # for numbers."""


def without_spaces(factory: str) -> str:
    """Return a factory string as FAISS writes it: ``IVF8,PQ4x4`` for ``IVF8, PQ4x4``."""
    return "".join(factory.split())


def check_factory(factory: str, dimension: int, count: int) -> None:
    """Check the numbers in a factory string.

    Args:
        factory: The factory string.
        dimension: Number of values in a feature.
        count: Number of training features.

    Raises:
        InputError: If it is long or no ASCII, a number is 0 or too large, or there are fewer
            features than centroids.
    """
    option = f"idx_factory {factory!r}: expected"
    if len(factory) > _LONGEST:
        shown = f"idx_factory {factory[:20]!r} …: expected"
        raise InputError(f"{shown} at most {_LONGEST} characters, found {len(factory)}")
    if not (factory.isascii() and factory.isprintable()):
        raise InputError(f"{option} ASCII characters")
    numbers = [int(digits) for digits in re.findall(r"[0-9]+", factory)]
    if 0 in numbers:
        raise InputError(f"{option} whole numbers from 1 on, found 0")
    reduced = max(map(int, _REDUCED.findall(factory)), default=0)
    if reduced > dimension:
        raise InputError(
            f"{option} at most {dimension} dimensions, those of the features, found {reduced}"
        )
    bits = [*map(int, _BITS.findall(factory)), *(8 for _ in _EIGHT_BITS.findall(factory))]
    centroids = [2**each for each in bits if each <= _MOST_BITS]
    most = max([*map(int, _LISTS.findall(factory)), *centroids], default=0)
    if most > count:
        raise InputError(
            f"{option} at least {most} training features, one per centroid, found {count}; "
            "take more images or fewer centroids, or leave --index out: the index in the package "
            "needs no training"
        )
    largest = max(count, 4 * dimension, 1024)
    if numbers and max(numbers) > largest:
        raise InputError(f"{option} numbers up to {largest}, found {max(numbers)}")


def suggestion(factory: str, is_possible: Callable[[str], bool]) -> str:
    """Return ``"; did you mean …?"`` for a mistyped factory string; nothing if none comes near.

    Args:
        factory: The factory string.
        is_possible: Tells if FAISS can build an index of a factory string.
    """
    for candidate in _candidates(factory):
        if candidate != factory and is_possible(candidate):
            return f"; did you mean {candidate!r}?"
    return ""


def _candidates(factory: str) -> Iterator[str]:
    parts = re.split(r"[\s,;]+|(?<=\d)(?=[A-Z]{2})", factory.strip(" ,;"))
    corrected = ",".join(map(_corrected, parts))
    yield corrected
    # The number of sub-vectors must divide the dimension.
    for found in re.finditer(r"PQ(\d+)", corrected):
        wanted = int(found[1])
        for near in range(1, min(wanted, 64)):
            for count in (wanted + near, wanted - near):
                yield f"{corrected[: found.start(1)]}{count}{corrected[found.end(1) :]}"


def _corrected(part: str) -> str:
    """Return the part of a factory string that another one is likely to stand for."""
    numbers = re.findall(r"\d+", part)
    shape = re.sub(r"\d+", "#", part).lower()
    alike = {known.lower(): known for known in _PARTS if known.count("#") == len(numbers)}
    nearest = difflib.get_close_matches(shape, alike)
    if not nearest:
        return part
    # The same letters in another order come first: QP8 for PQ8.
    best = min(nearest, key=lambda each: sorted(each) != sorted(shape))
    pieces = alike[best].split("#")
    return "".join(text + number for text, number in zip(pieces, [*numbers, ""], strict=True))
