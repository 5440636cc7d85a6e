"""Searching an index for the nearest stored codes, and its search-time parameters."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.indexing.unwrap import class_name, inner_index

_ROWS = 1 << 16
"""Features added at a time; bounds the memory where they are mapped from a file."""

EFFORT = 20_000
"""Codes that a search of a store compares with each query by default, about: a store of so many
is searched as a whole, in a few milliseconds a query."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest neighbours of ``n`` queries, nearest first.

    Attributes:
        distances: ``(n, k)``; squared Euclidean distances (L2) or inner products (IP) between
            the query and the reconstructions.
        ids: ``(n, k)``; -1 where fewer than ``k`` were found.
    """

    distances: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Visit:
    """Share of an index that a search visits; ``str()`` says it.

    Attributes:
        nprobe: Inverted lists that are visited.
        lists: Inverted lists that there are; 1 in an index that compares every code.
        codes: Codes in the lists that are visited, on average.

    Example:
        >>> print(Visit.of(16, lists=64, codes=8_400))
        16 of 64 lists, 2,100 codes
    """

    nprobe: int
    lists: int
    codes: int

    @classmethod
    def of(cls, nprobe: int, lists: int, codes: int) -> Self:
        """Visit ``nprobe`` lists, all at most, of an index that holds ``codes``."""
        nprobe = min(nprobe, lists)
        return cls(nprobe, lists, round(codes * nprobe / lists))

    def as_json(self) -> dict[str, int]:
        """Return the fields for a JSON file."""
        return {"lists": self.nprobe, "of": self.lists, "codes": self.codes}

    def __str__(self) -> str:
        codes = f"{self.codes:,} code{'' if self.codes == 1 else 's'}"
        return f"{self.nprobe:,} of {self.lists:,} lists, {codes}" if self.lists > 1 else codes


def lists_within(effort: int, lists: int, codes: int) -> int:
    """Number of ``lists`` that hold about ``effort`` of all ``codes``: from one to all of them."""
    return lists if codes <= effort else max(1, effort * lists // codes)


def add(index: faiss.Index, features: npt.NDArray[np.float32]) -> None:
    """Add features ``(n, d)`` to an index; their ids are 0, 1, …, after those that are there.

    Raises:
        ShapeError: If the features have another dimension than the index.
    """
    if features.ndim != 2 or features.shape[1] != index.d:
        raise ShapeError("features", ("n", index.d), features.shape)
    for start in range(0, len(features), _ROWS):
        rows = np.ascontiguousarray(features[start : start + _ROWS], dtype=np.float32)
        with library_errors(f"index {class_name(index)}: features cannot be added"):
            if _keeps_ids(index):
                index.add_with_ids(rows, np.arange(index.ntotal, index.ntotal + len(rows)))
            else:
                index.add(rows)


def filled(
    index: faiss.Index,
    parts: Iterable[npt.NDArray[np.float32]],
    nprobe: int,
    search_params: str | None = None,
) -> faiss.Index:
    """Copy an index, and add features to the copy.

    Args:
        index: The index.
        parts: Matrices ``(n, d)``; see :func:`add`.
        nprobe: See :func:`set_nprobe`.
        search_params: See :func:`set_search_parameters`.

    Raises:
        ShapeError: If features have another dimension than the index.
        InputError: If the index has ids of its own, or no such parameter.
    """
    copy = copied(index)
    _check_ids(copy)
    for part in parts:
        add(copy, part)
    set_nprobe(copy, nprobe)
    if search_params is not None:
        set_search_parameters(copy, search_params)
    return copy


def _check_ids(index: faiss.Index) -> None:
    """Check that the vectors in an index have the ids 0, 1, …, so that further ones are new."""
    count, ids = index.ntotal, np.empty(0, np.int64)
    inner: Any = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexIDMap | faiss.IndexIDMap2):
        ids = faiss.vector_to_array(inner.id_map)
    elif isinstance(inner, faiss.IndexIVF):
        lists: Any = inner.invlists
        ids = np.concatenate([_ids_in(lists, each) for each in range(inner.nlist)])
    else:
        return
    if not np.array_equal(np.sort(ids), np.arange(count)):
        raise InputError(
            f"index: expected ids from 0 to {count - 1}, found ids up to {ids.max(initial=-1)}; "
            "give the features of the images in it as references"
        )


def _ids_in(lists: Any, number: int) -> npt.NDArray[np.int64]:
    size = lists.list_size(number)
    if not size:
        return np.empty(0, np.int64)
    pointer = lists.get_ids(number)
    try:
        ids: npt.NDArray[np.int64] = faiss.rev_swig_ptr(pointer, size).copy()
    finally:
        lists.release_ids(number, pointer)
    return ids


def emptied(index: faiss.Index) -> faiss.Index:
    """Copy an index without the vectors in it."""
    copy = copied(index)
    copy.reset()
    return copy


def copied(index: faiss.Index) -> faiss.Index:
    """Copy an index with all that is in it.

    Inverted lists on the disk are copied into memory: a plain copy would share their file, and
    write into it.
    """
    copy = faiss.deserialize_index(faiss.serialize_index(index))
    inverted: Any = faiss.try_extract_index_ivf(copy)  # The stubs do not know all of it.
    lists: Any = None if inverted is None else faiss.downcast_InvertedLists(inverted.invlists)
    on_disk = isinstance(lists, faiss.OnDiskInvertedLists)
    if on_disk:
        in_memory: Any = faiss.ArrayInvertedLists(inverted.nlist, inverted.code_size)
        last = np.iinfo(np.int64).max
        lists.copy_subset_to(in_memory, lists.SUBSET_TYPE_ID_RANGE, 0, last)
        in_memory.this.disown()  # The index frees them.
        inverted.replace_invlists(in_memory, True)
    return copy


def _keeps_ids(index: faiss.Index) -> bool:
    """True if ids must be given: an id map refuses to add without."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return _keeps_ids(inner.index)
    return isinstance(inner, faiss.IndexIDMap | faiss.IndexIDMap2)


def search(index: faiss.Index, features: npt.NDArray[np.float32], k: int) -> Neighbours:
    """Find the ``k`` nearest stored codes of each feature ``(n, d)``.

    Raises:
        ShapeError: If the features have another dimension than the index.
        InputError: If ``k`` is not positive.
    """
    if features.ndim != 2 or features.shape[1] != index.d:
        raise ShapeError("features", ("n", index.d), features.shape)
    if k < 1:
        raise InputError(f"kneighbors: expected 1 or more, found {k}")
    with library_errors(f"kneighbors {k}: the index cannot be searched"):
        distances, ids = index.search(np.ascontiguousarray(features, dtype=np.float32), k)
    return Neighbours(distances, ids)


def set_search_parameters(index: faiss.Index, parameters: str) -> None:
    """Set search-time parameters by FAISS's names, through its parameter space.

    Args:
        index: The index; wrappers pass parameters on.
        parameters: ``"nprobe=8,efSearch=64"``. ``nprobe``: inverted lists visited; ``efSearch``:
            candidates on an HNSW graph (``quantizer_efSearch`` where the graph finds the lists);
            ``k_factor``: candidates per neighbour that a refinement re-ranks.

    Raises:
        InputError: If the text is malformed or the index has no such parameter.
    """
    space, refined = faiss.ParameterSpace(), _is_refined(index)
    for part in parameters.split(","):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value) or value <= 0:
            raise InputError(f"search_params: expected NAME=NUMBER, found {part.strip()!r}")
        # FAISS calls a refinement's factor k_factor_rf; k_factor is that of IVFPQR.
        known = "k_factor_rf" if name == "k_factor" and refined else name
        try:
            space.set_index_parameter(index, known, value)
        except RuntimeError:
            raise InputError(
                f"search_params: expected a parameter of {class_name(index)}, found {name!r}"
            ) from None


def _is_refined(index: faiss.Index) -> bool:
    inner = faiss.downcast_index(index)
    while not isinstance(inner, faiss.IndexRefine) and (lower := inner_index(inner)) is not None:
        inner = lower
    return isinstance(inner, faiss.IndexRefine)


def set_nprobe(index: faiss.Index, nprobe: int) -> None:
    """Set the number of inverted lists that a search visits; an index without them ignores it.

    Raises:
        InputError: If ``nprobe`` is not positive.
    """
    if nprobe < 1:
        raise InputError(f"nprobe: expected 1 or more, found {nprobe}")
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = nprobe
