"""The parts of a nested FAISS index: transforms, wrappers, and the index that codes.

FAISS nests indexes: ``OPQ8_64,IVF64,PQ8x8,RFlat`` is a refinement of a rotation of inverted lists.
"""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

_WRAPPERS = (faiss.IndexPreTransform, faiss.IndexIDMap, faiss.IndexIDMap2)
_GRAPHS = (faiss.IndexHNSW, faiss.IndexNSG, faiss.IndexNNDescent)


def transforms_of(index: faiss.Index) -> list[faiss.VectorTransform]:
    """Return the transforms that an index itself applies to features before it codes them."""
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    chain: Any = index.chain  # A C++ vector, whatever the stubs say.
    return [faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())]


def matrix_of(transform: faiss.LinearTransform) -> npt.NDArray[np.float64]:
    """Return the matrix ``(d_out, d_in)`` of a linear transform."""
    values = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
    return values.astype(np.float64)


def inner_index(index: faiss.Index) -> faiss.Index | None:
    """Return the index inside a wrapper whose codes decide a search; None if there is none.

    An id map and a graph keep their codes in another index. A refinement re-ranks what its base
    index found; its own vectors are (nearly) the features themselves.
    """
    if isinstance(index, _WRAPPERS):
        return faiss.downcast_index(index.index)
    if isinstance(index, _GRAPHS):
        storage: Any = index  # The stubs know it of one of them only.
        return faiss.downcast_index(storage.storage)
    if isinstance(index, faiss.IndexRefine):
        return faiss.downcast_index(index.base_index)
    return None


def unwrapped(index: faiss.Index) -> tuple[list[faiss.VectorTransform], faiss.Index]:
    """Return all transforms that features go through, in order, and the index that codes them."""
    transforms: list[faiss.VectorTransform] = []
    inner = faiss.downcast_index(index)
    while (lower := inner_index(inner)) is not None:
        transforms += transforms_of(inner)
        inner = lower
    _repair(inner)
    return transforms, inner


def _repair(codec: faiss.Index) -> None:
    """FAISS 1.15 loses a pointer of fast-scan lists when it reads them, and crashes on decoding."""
    lists: Any = codec  # The stubs do not know the pointer.
    if isinstance(codec, faiss.IndexIVFPQFastScan) and lists.fine_quantizer is None:
        lists.fine_quantizer = lists.pq


def class_name(index: faiss.Index) -> str:
    """Return the name of an index's FAISS class."""
    return type(faiss.downcast_index(index)).__name__
