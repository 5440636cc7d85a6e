"""Indexes that FAISS trains in a moment, kept for the session."""

import functools

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.indexing.training import Metric, train_faiss

Array = npt.NDArray[np.float32]

# "np" leaves out the reordering of centroids for polysemous search, which FAISS does by simulated
# annealing: seconds for every part of a code. One index has it all the same, of the paper's kind.
FACTORIES = (
    "IVF16,PQ2x8",
    "IVF16,PQ8x8np",
    "IVF16,Flat",
    "PQ8x8np",
    "OPQ8_32,PQ8x8np",
    "OPQ8_32,IVF16,PQ8x8np",
    "PCA32,LSH",
    "Flat",
    "SQ8",
    "IVF16,SQ8",
)
KINDS: list[tuple[str, Metric]] = [
    (factory, metric)
    for factory in FACTORIES
    for metric in ("L2", "IP")
    if metric == "L2" or not factory.endswith(("LSH", "IVF16,PQ2x8"))  # FAISS has no LSH for IP
]


def features(count: int, dimension: int = 64, seed: int = 0) -> Array:
    """Features of unit length in clusters, as those of images are."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, dimension))
    near = centres[generator.integers(20, size=count)]
    values = near + generator.normal(scale=0.7, size=(count, dimension))
    unit: Array = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


def trained(factory: str, metric: Metric = "L2", dimension: int = 64) -> faiss.Index:
    """Nobody adds to it; see :func:`copy_of`."""
    return _kept(factory, metric, dimension)


def newly_trained(factory: str, metric: Metric = "L2", dimension: int = 64) -> faiss.Index:
    return train_faiss(features(800, dimension), factory, metric)


_kept = functools.cache(newly_trained)


def copy_of(index: faiss.Index) -> faiss.Index:
    return faiss.deserialize_index(faiss.serialize_index(index))
