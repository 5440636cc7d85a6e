"""Indexing: features to codes, and the reconstruction that an index makes of them.

The third room on the path of an image. An index is a FAISS index; what this room adds is training
with a cache that is checked on reuse, and :class:`Quantiser`, which tells what an index would
store for a feature without adding anything to it.
"""

from activeindex.indexing.faces import Faces
from activeindex.indexing.identity import QuantiserIdentity
from activeindex.indexing.index_files import index_path, read_index
from activeindex.indexing.manifest import Manifest
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.search import Neighbours, add, search, set_nprobe, set_search_parameters
from activeindex.indexing.trained import TrainedIndex, load_or_train, train_folder
from activeindex.indexing.training import (
    METRICS,
    Metric,
    few_features,
    new_index,
    train_index,
)

__all__ = [
    "METRICS",
    "Faces",
    "Features",
    "Manifest",
    "Metric",
    "Neighbours",
    "Quantiser",
    "QuantiserIdentity",
    "TrainedIndex",
    "add",
    "few_features",
    "index_path",
    "load_or_train",
    "new_index",
    "read_index",
    "search",
    "set_nprobe",
    "set_search_parameters",
    "train_folder",
    "train_index",
]
