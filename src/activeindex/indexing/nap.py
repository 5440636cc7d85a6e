"""Nuisance attribute projection: remove the directions that edits move features along.

Some directions of the feature space say little about the image and much about the edit: all
screenshots move along them, say, and end up in one inverted list. Nuisance attribute projection
(NAP; Solomonoff, Campbell and Boardman, ICASSP 2005) finds them among the differences between
images and their edited copies, and projects features on their orthogonal complement. FAISS stores
the projection as a linear transform, so the index file is an ordinary one. A factory string asks
for it as for any transform: ``NAP16,IVF4096,PQ8x8``.
"""

import re
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.indexing.unwrap import transforms_of

_PREFIX = re.compile(r"NAP([1-9]\d*),(.+)")
_ROWS = 1 << 16
"""Rows read at a time; bounds the memory."""
_NOTHING = 1e-12
"""Share of the features' squared norms below which a direction counts as not moved."""


def split_factory(factory: str) -> tuple[int, str]:
    """Split a factory string into the number of directions to remove and FAISS's part of it."""
    found = _PREFIX.fullmatch(factory)
    return (int(found[1]), found[2]) if found else (0, factory)


def check_wanted(factory: str, edited: Sequence[object]) -> None:
    """Check that features of edited copies are given if and only if a factory string needs them.

    Raises:
        InputError: If they are missing, or nothing asks for them.
    """
    count, _ = split_factory(factory)
    if count and not edited:
        raise InputError(
            f"idx_factory NAP{count}: expected features of edited copies (fts_edited_path, from "
            "extract_fts --edit_seed), found none"
        )
    if edited and not count:
        raise InputError(
            f"idx_factory {factory!r}: expected one that begins with NAP, for the features of "
            "edited copies (fts_edited_path)"
        )


def with_projection(index: faiss.Index) -> faiss.IndexPreTransform:
    """Put a projection that is not known yet before an untrained index."""
    projection: Any = faiss.LinearTransform(index.d, index.d, False)
    if isinstance(index, faiss.IndexPreTransform):
        projection.this.disown()  # One that the factory made frees its transforms itself.
        index.prepend_transform(projection)
        return index
    return faiss.IndexPreTransform(projection, index)


def nuisance_projection(
    features: npt.NDArray[np.float32], edited: Sequence[npt.NDArray[np.float32]], count: int
) -> npt.NDArray[np.float32]:
    """Compute the projection that removes the directions that edits move features along most.

    Args:
        features: Of images, ``(n, d)``.
        edited: Of edited copies of the same images, matrices ``(n, d)``.
        count: Number of directions to remove, 1 to ``d - 1``.

    Returns:
        ``(d, d)``, symmetric and idempotent.

    Raises:
        InputError: If ``count`` is out of range, or the edited copies are not as many, of another
            dimension, or do not move in so many directions.
    """
    width = features.shape[1]
    if not 1 <= count < width:
        raise InputError(
            f"idx_factory NAP{count}: expected 1 to {width - 1} directions of features of "
            f"dimension {width}"
        )
    scatter, squares = np.zeros((width, width)), 0.0
    for copies in edited:
        if copies.shape != features.shape:
            raise InputError(
                f"fts_edited_path: expected features of copies of the {len(features)} training "
                f"images, of dimension {width}, found {copies.shape[0]} of dimension "
                f"{copies.shape[1]}"
            )
        for start in range(0, len(features), _ROWS):
            rows = slice(start, start + _ROWS)
            moves = copies[rows].astype(np.float64) - features[rows]
            scatter += moves.T @ moves
            squares += float(np.square(features[rows], dtype=np.float64).sum())
    strengths, directions = np.linalg.eigh(scatter)
    moving = int(np.count_nonzero(strengths > _NOTHING * squares))
    if moving < count:
        raise InputError(
            f"idx_factory NAP{count}: expected edited copies that move in {count} directions, "
            f"found {moving}"
        )
    largest = directions[:, -count:]
    projection: npt.NDArray[np.float32] = (np.eye(width) - largest @ largest.T).astype(np.float32)
    return projection


def set_projection(index: faiss.Index, projection: npt.NDArray[np.float32]) -> None:
    """Set the projection ``(d, d)`` of an index of :func:`with_projection`."""
    transform: Any = transforms_of(index)[0]  # The stubs do not know its matrix.
    faiss.copy_array_to_vector(np.ascontiguousarray(projection).ravel(), transform.A)
    transform.is_trained = True
