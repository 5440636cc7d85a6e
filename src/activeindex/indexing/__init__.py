"""Indexing: features to codes, and the reconstruction that an index makes of them.

The third room on the path of an image. An index is a FAISS index; what this room adds is training
with a cache that is checked on reuse, and :class:`Quantiser`, which tells what an index would
store for a feature without adding anything to it.
"""

from activeindex.indexing.cache import check_extractor, index_path, load_or_train, read_index
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import Neighbours, add, search, set_nprobe
from activeindex.indexing.training import METRICS, Metric, train_index

__all__ = [
    "METRICS",
    "Metric",
    "Neighbours",
    "Quantiser",
    "add",
    "check_extractor",
    "index_path",
    "load_or_train",
    "read_index",
    "search",
    "set_nprobe",
    "train_index",
]
