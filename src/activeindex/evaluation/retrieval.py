"""Retrieval of one edited image: the rank of its original among the neighbours returned."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from activeindex.errors import InputError, ShapeError

EditKey = tuple[str, float | int | None]
"""An edit's name and its parameter; None for edits without one."""


def attack_name(cell: str) -> str:
    """The name of the edit in a CSV cell, without details.

    ``"auto (crop+blur)"`` is one of many compositions and ``"center_crop (skipped center_crop)"``
    an edit that an image was too small for; tables group them under ``auto`` and ``center_crop``.

    Example:
        >>> attack_name("auto (crop+blur)")
        'auto'
    """
    return cell.partition(" (")[0].strip()


def neighbour_arrays(
    name: str, distances: ArrayLike, ids: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Copy one query's neighbours into arrays of their own, float32 (k,) and int64 (k,).

    A view into a search result would keep the whole batch in memory.

    Raises:
        ShapeError: If the two differ in length, or are not one-dimensional.
        InputError: If the ids are not integers.
    """
    values = np.array(distances, dtype=np.float32)
    numbers: NDArray[Any] = np.array(ids)
    if values.ndim != 1:
        raise ShapeError(f"{name}: distances", ("k",), values.shape)
    if numbers.shape != values.shape:
        raise ShapeError(f"{name}: indices", values.shape, numbers.shape)
    if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(f"{name}: expected whole numbers as indices, found {numbers.dtype}")
    return values, numbers.astype(np.int64)


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Result of the search for one edited image: one row of ``retr_df.csv``."""

    batch: int
    """Number of the batch that the image was in."""
    image_index: int
    """The original's id in the index, 0 or more."""
    attack: str
    """The edit, possibly with details: see :func:`attack_name`."""
    attack_param: float | int | None
    """The edit's strength; None for edits that have none."""
    retrieved_distances: NDArray[np.float32]
    """(k,), best first, in the index's metric."""
    retrieved_indices: NDArray[np.int64]
    """(k,), ids in the index; FAISS fills up with -1 where it found fewer than k."""
    rank: int
    """Place of the original among the retrieved, counted from 0; k if it is not there."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank <= self.neighbours:
            raise InputError(f"rank: expected 0 to {self.neighbours}, found {self.rank}")

    @classmethod
    def from_search(
        cls,
        batch: int,
        image_index: int,
        attack: str,
        attack_param: float | int | None,
        distances: ArrayLike,
        indices: ArrayLike,
    ) -> Self:
        """Rank the original among the neighbours that a search returned.

        Args:
            batch: Number of the batch.
            image_index: The original's id in the index, 0 or more.
            attack: The edit's name.
            attack_param: Its strength, if it has one.
            distances: (k,), best first; kept as float32.
            indices: (k,) ids, -1 where nothing was found.

        Raises:
            ShapeError: If distances and indices are not two vectors of one length.
            InputError: If ``image_index`` is negative or the indices are not whole numbers.

        Example:
            >>> row = RetrievalResult.from_search(0, 7, "blur", 11, [0.1, 0.4, 0.5], [3, 7, 9])
            >>> row.rank, row.ap, row.recall_at(1), row.recall_at(10)
            (1, 0.5, 0, 1)
        """
        if image_index < 0:
            raise InputError(f"image_index: expected an id of 0 or more, found {image_index}")
        values, numbers = neighbour_arrays(f"image {image_index}", distances, indices)
        places = np.flatnonzero(numbers == image_index)
        rank = int(places[0]) if places.size else len(numbers)
        return cls(batch, image_index, attack, attack_param, values, numbers, rank)

    @property
    def neighbours(self) -> int:
        """Number of neighbours asked for: k."""
        return len(self.retrieved_indices)

    def recall_at(self, n: int) -> int:
        """1 if the original is among the first ``n`` retrieved, else 0; a miss is 0 for any n."""
        return int(self.rank < min(n, self.neighbours))

    @property
    def ap(self) -> float:
        """Average precision of a ranking with one true image: 1 / (rank + 1).

        A miss has rank k and counts 1 / (k + 1), as if the original came just behind the
        neighbours asked for. Copy detection ranks a missed pair behind all others, too.
        """
        return 1.0 / (self.rank + 1)
