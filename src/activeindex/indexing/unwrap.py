"""What an index is made of: transforms, wrappers, and the part that codes.

FAISS nests indexes: ``OPQ8_64,IVF64,PQ8x8,RFlat`` is a refinement of a rotation of inverted lists.
"""

from typing import Any

import faiss

_WRAPPERS = (faiss.IndexPreTransform, faiss.IndexIDMap, faiss.IndexIDMap2)
_GRAPHS = (faiss.IndexHNSW, faiss.IndexNSG, faiss.IndexNNDescent)


def transforms_of(index: faiss.Index) -> list[faiss.VectorTransform]:
    """The transforms that an index itself applies to features before it codes them."""
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    chain: Any = index.chain  # A C++ vector, whatever the stubs say.
    return [faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())]


def inner_index(index: faiss.Index) -> faiss.Index | None:
    """The index whose codes decide what this one finds, if it has none of its own.

    An id map and a graph keep their codes in another index. A refinement orders again what its
    base index found; its own vectors are (nearly) the features themselves.
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
    """All transforms that features go through, first to last, and the index that codes them."""
    transforms: list[faiss.VectorTransform] = []
    inner = faiss.downcast_index(index)
    while (lower := inner_index(inner)) is not None:
        transforms += transforms_of(inner)
        inner = lower
    return transforms, inner
