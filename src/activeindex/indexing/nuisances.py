"""What edits do to features, taken out before an index sees them.

Some directions of the feature space say little about which image it is and much about what was done
to it: features of all images in a screenshot move along them, say, and end up in one inverted list.
Nuisance attribute projection (Solomonoff, Campbell and Boardman, ICASSP 2005) finds them among the
differences between images and their edited copies, and projects features on what is orthogonal to
them. FAISS has no such transform, but keeps it as a linear one, so the index file is an ordinary
one. A factory string asks for it as for any transform: ``NAP16,IVF4096,PQ8x8``.
"""

import re
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.indexing.layers import transforms_of

_PREFIX = re.compile(r"NAP([1-9]\d*),(.+)")
_ROWS = 1 << 16
"""Rows that are read at a time; bounds the memory."""


def split_factory(factory: str) -> tuple[int, str]:
    """How many directions a factory string takes out, 0 for none, and FAISS's part of it."""
    found = _PREFIX.fullmatch(factory)
    return (int(found[1]), found[2]) if found else (0, factory)


def with_projection(index: faiss.Index) -> faiss.IndexPreTransform:
    """An untrained index behind a projection that is not known yet."""
    projection: Any = faiss.LinearTransform(index.d, index.d, False)
    if isinstance(index, faiss.IndexPreTransform):
        projection.this.disown()  # One that the factory made frees its transforms itself.
        index.prepend_transform(projection)
        return index
    return faiss.IndexPreTransform(projection, index)


def nuisance_projection(
    features: npt.NDArray[np.float32], edited: Sequence[npt.NDArray[np.float32]], count: int
) -> npt.NDArray[np.float32]:
    """The projection on what is orthogonal to the directions that edits move features along most.

    Args:
        features: Of images, ``(n, d)``.
        edited: Of edited copies of the same images, a matrix ``(n, d)`` for each edit.
        count: How many directions to take out, 1 to ``d - 1``.

    Returns:
        ``(d, d)``, symmetric and idempotent.

    Raises:
        InputError: If ``count`` is out of range, there are no edited copies, or those are not as
            many or of another dimension.
    """
    width = features.shape[1]
    if not 1 <= count < width:
        raise InputError(
            f"idx_factory NAP{count}: expected 1 to {width - 1} directions of features of "
            f"dimension {width}"
        )
    if not edited:
        raise InputError(
            f"idx_factory NAP{count}: expected features of edited copies (fts_edited_path), "
            "found none"
        )
    scatter = np.zeros((width, width))
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
    _, directions = np.linalg.eigh(scatter)
    largest = directions[:, -count:]
    projection: npt.NDArray[np.float32] = (np.eye(width) - largest @ largest.T).astype(np.float32)
    return projection


def set_projection(index: faiss.Index, projection: npt.NDArray[np.float32]) -> None:
    """Gives an index of :func:`with_projection` its projection ``(d, d)``."""
    transform: Any = transforms_of(index)[0]  # The stubs do not know its matrix.
    faiss.copy_array_to_vector(np.ascontiguousarray(projection).ravel(), transform.A)
    transform.is_trained = True
