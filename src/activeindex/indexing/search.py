"""Asking an index for the nearest stored codes."""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError


@dataclass(frozen=True)
class Neighbours:
    """What an index returned for ``n`` queries, nearest first.

    Attributes:
        distances: ``(n, k)``; squared Euclidean distances (L2) or inner products (IP) between
            the query and the reconstructions.
        ids: ``(n, k)``; -1 where fewer than ``k`` were found.
    """

    distances: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]


def search(index: faiss.Index, features: npt.NDArray[np.float32], k: int) -> Neighbours:
    """The ``k`` nearest stored codes of each feature ``(n, d)``.

    Raises:
        ShapeError: If the features have another dimension than the index.
        InputError: If ``k`` is not positive.
    """
    if features.ndim != 2 or features.shape[1] != index.d:
        raise ShapeError("features", ("n", index.d), features.shape)
    if k < 1:
        raise InputError(f"kneighbors: expected 1 or more, found {k}")
    distances, ids = index.search(np.ascontiguousarray(features, dtype=np.float32), k)
    return Neighbours(distances, ids)


def set_nprobe(index: faiss.Index, nprobe: int) -> None:
    """Sets how many inverted lists a search visits; no effect on an index without them.

    Raises:
        InputError: If ``nprobe`` is not positive.
    """
    if nprobe < 1:
        raise InputError(f"nprobe: expected 1 or more, found {nprobe}")
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = nprobe
