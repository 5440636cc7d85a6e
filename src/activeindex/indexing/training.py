"""Training a FAISS index from a factory string, with FAISS's failures as one-line errors."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError
from activeindex.indexing.nap import (
    check_wanted,
    nuisance_projection,
    set_projection,
    split_factory,
    with_projection,
)
from activeindex.indexing.unwrap import unwrapped

Metric = Literal["L2", "IP"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_FAISS_METRICS = {"L2": faiss.METRIC_L2, "IP": faiss.METRIC_INNER_PRODUCT}
_INDEXES_WITHIN = ("index", "storage", "base_index", "refine_index", "quantizer")
_QUANTISERS_WITHIN = ("pq", "refine_pq", "rq", "q1")
_CENTROIDS_OF_ROTATION = 256
"""A rotation is trained with a product quantiser of 8 bits, which it does not keep."""

_FEATURES_PER_CENTROID: int = faiss.ClusteringParameters().min_points_per_centroid
"""Training features per centroid that FAISS advises at least."""

_LOCATION = re.compile(r"^Error in .* at \S+:\d+: (Error: )?")
_TOO_FEW = re.compile(r"Number of training points \((\d+)\) should be at least.*?\((\d+)\)")


def new_index(factory: str, dimension: int, metric: Metric) -> faiss.Index:
    """Build an untrained, empty index.

    Args:
        factory: A FAISS factory string, e.g. ``"IVF4096,PQ8x8"``, or one with ``NAP`` before it
            (:mod:`activeindex.indexing.nap`).
        dimension: Number of values in a feature.
        metric: ``"L2"`` or ``"IP"`` (inner product).

    Raises:
        InputError: If FAISS does not know the factory string or cannot build it for ``dimension``.
    """
    if metric not in _FAISS_METRICS:
        raise InputError(f"quant: expected one of {', '.join(METRICS)}, found {metric!r}")
    nuisances, plain = split_factory(factory)
    try:
        index = faiss.index_factory(dimension, plain, _FAISS_METRICS[metric])
        return with_projection(index) if nuisances else index
    except RuntimeError as error:
        raise InputError(
            f"idx_factory {factory!r}: expected a FAISS factory string that fits features of "
            f"dimension {dimension} ({faiss_reason(error)})"
        ) from None


def train_faiss(
    features: npt.NDArray[np.float32],
    factory: str,
    metric: Metric = "L2",
    edited: Sequence[npt.NDArray[np.float32]] = (),
) -> faiss.Index:
    """Build an index and train it; it stays empty.

    Args:
        features: Training features ``(n, d)``.
        factory: A factory string; see :func:`new_index`.
        metric: ``"L2"`` or ``"IP"``.
        edited: For ``NAP``, features of edited copies of the same images: matrices ``(n, d)``.

    Raises:
        InputError: If the factory string is unknown, there are fewer features than centroids, a
            ``NAP`` without edited copies, or copies of other images or without a ``NAP``.
        ShapeError: If the features are not a matrix.
    """
    if features.ndim != 2:
        raise ShapeError("training features", ("n", "d"), features.shape)
    index = new_index(factory, features.shape[1], metric)
    check_wanted(factory, edited)
    if nuisances := split_factory(factory)[0]:
        set_projection(index, nuisance_projection(features, edited, nuisances))
    rotations = _rotations(index)
    for rotation in rotations:
        # The one that FAISS would make for itself, with a warning that cannot be switched off.
        rotation.pq = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
    for clustering in _clusterings(index):
        # FAISS prints, past Python, that it would like more training features.
        clustering.cp.min_points_per_centroid = 1
    try:
        index.train(np.ascontiguousarray(features, dtype=np.float32))
    except RuntimeError as error:
        if too_few := _TOO_FEW.search(str(error)):
            # FAISS names the clustering that failed; a later one may need more.
            least = max([int(too_few[2]), *_centroids(index)])
            raise InputError(
                f"idx_factory {factory!r}: expected at least {least} training features, "
                f"one per centroid, found {len(features)}"
            ) from None
        raise InputError(
            f"idx_factory {factory!r}: {len(features)} features of dimension {features.shape[1]} "
            f"cannot train it ({faiss_reason(error)})"
        ) from None
    finally:
        for rotation in rotations:
            rotation.pq = None
    return index


def few_features(count: int, index: faiss.Index) -> str | None:
    """Return a warning if an index was trained on fewer features than FAISS advises."""
    rotated = [_CENTROIDS_OF_ROTATION for _ in _rotations(index)]
    centroids = max([*rotated, *_centroids(index)], default=0)
    advised = _FEATURES_PER_CENTROID * centroids
    if count >= advised:
        return None
    return f"{count:,} features for {centroids:,} centroids; {advised:,} advised"


def _rotations(index: faiss.Index) -> list[faiss.OPQMatrix]:
    return [part for part in unwrapped(index)[0] if isinstance(part, faiss.OPQMatrix)]


def _clusterings(index: faiss.Index) -> Iterator[Any]:
    """Yield every part of an index that is trained by clustering."""
    for rotation in _rotations(index):
        if rotation.pq is not None:
            yield rotation.pq
    yield from _clustered(faiss.downcast_index(index))


def _clustered(part: Any) -> Iterator[Any]:
    if getattr(part, "cp", None) is not None:
        yield part
    for name in _INDEXES_WITHIN:
        if isinstance(within := getattr(part, name, None), faiss.Index):
            yield from _clustered(faiss.downcast_index(within))
    for name in _QUANTISERS_WITHIN:
        if (within := getattr(part, name, None)) is not None:
            yield from _clustered(within)


def _centroids(index: faiss.Index) -> Iterator[int]:
    """Yield the number of centroids of each clustering, where it is known beforehand."""
    for part in _clusterings(index):
        if isinstance(part, faiss.ProductQuantizer):
            yield part.ksub
        # A char of C++, which Python sees as a text: 1 where the lists come from no clustering.
        elif isinstance(part, faiss.IndexIVF) and part.quantizer_trains_alone != "\x01":
            yield part.nlist


def faiss_reason(error: BaseException) -> str:
    """Return FAISS's message on one line, without the C++ function and file before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _LOCATION.sub("", lines[0]).strip()
