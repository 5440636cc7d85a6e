"""Training an index from a FAISS factory string."""

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
_OF_ROTATION = 256

_FEATURES_PER_CENTROID: int = faiss.ClusteringParameters().min_points_per_centroid
"""Training features per centroid that FAISS advises at least."""

_LOCATION = re.compile(r"^Error in .* at \S+:\d+: (Error: )?")
_TOO_FEW = re.compile(r"Number of training points \((\d+)\) should be at least.*?\((\d+)\)")


def new_index(factory: str, dimension: int, metric: Metric) -> faiss.Index:
    """An untrained, empty index.

    Args:
        factory: A FAISS factory string, e.g. ``"IVF4096,PQ8x8"``, or one that ``NAP`` comes before
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


def train_index(
    features: npt.NDArray[np.float32],
    factory: str,
    metric: Metric,
    edited: Sequence[npt.NDArray[np.float32]] = (),
) -> faiss.Index:
    """Trains an empty index.

    Args:
        features: Training features ``(n, d)``.
        factory: A factory string; see :func:`new_index`.
        metric: ``"L2"`` or ``"IP"``.
        edited: For a ``NAP`` at its beginning, features of edited copies of the same images: a
            list of matrices ``(n, d)``.

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
    helpers = _silence(index)
    try:
        index.train(np.ascontiguousarray(features, dtype=np.float32))
    except RuntimeError as error:
        if too_few := _TOO_FEW.search(str(error)):
            # FAISS names the clustering that it was at; a later one may want more.
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
        for transform in helpers:
            transform.pq = None
    return index


def _silence(index: faiss.Index) -> list[faiss.OPQMatrix]:
    """Keeps FAISS from printing, past Python, that it would like more training features.

    Returns:
        The rotations that were lent a product quantiser for their training.
    """
    transforms, _ = unwrapped(index)
    rotations = [t for t in transforms if isinstance(t, faiss.OPQMatrix)]
    for rotation in rotations:
        # What FAISS would make for itself, where its warning cannot be reached.
        rotation.pq = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
        _silence_part(rotation.pq)
    _silence_part(faiss.downcast_index(index))
    return rotations


def _silence_part(part: Any) -> None:
    for clustered in _clustered(part):
        clustered.cp.min_points_per_centroid = 1


def _clustered(part: Any) -> Iterator[Any]:
    """Every quantiser and index in a part that trains by clustering."""
    if getattr(part, "cp", None) is not None:
        yield part
    for name in _INDEXES_WITHIN:
        if isinstance(within := getattr(part, name, None), faiss.Index):
            yield from _clustered(faiss.downcast_index(within))
    for name in _QUANTISERS_WITHIN:
        if (within := getattr(part, name, None)) is not None:
            yield from _clustered(within)


def few_features(count: int, index: faiss.Index) -> str | None:
    """What to say of an index that was trained on fewer features than FAISS advises; None if not.

    Args:
        count: Of the training features.
        index: The index.
    """
    centroids = _most_centroids(index)
    advised = _FEATURES_PER_CENTROID * centroids
    if count >= advised:
        return None
    return f"{count:,} features for {centroids:,} centroids; {advised:,} advised"


def _most_centroids(index: faiss.Index) -> int:
    """How many centroids the largest clustering of an index has; 0 where none is known."""
    transforms, _ = unwrapped(index)
    # A rotation is trained with a product quantiser of 8 bits, which it does not keep.
    rotated = [_OF_ROTATION for t in transforms if isinstance(t, faiss.OPQMatrix)]
    return max([*rotated, *_centroids(index)], default=0)


def _centroids(index: faiss.Index) -> Iterator[int]:
    """How many centroids each clustering of an index has, where that is known beforehand."""
    transforms, _ = unwrapped(index)
    rotated = [t.pq for t in transforms if isinstance(t, faiss.OPQMatrix) and t.pq is not None]
    for part in (*rotated, faiss.downcast_index(index)):
        for clustered in _clustered(part):
            if isinstance(clustered, faiss.ProductQuantizer):
                yield clustered.ksub
            elif isinstance(clustered, faiss.IndexIVF) and not _has_own_lists(clustered):
                yield clustered.nlist


def _has_own_lists(index: faiss.IndexIVF) -> bool:
    """Whether the lists come from no clustering; a char of C++, which Python sees as a text."""
    return bool(index.quantizer_trains_alone == "\x01")


def faiss_reason(error: BaseException) -> str:
    """FAISS's own words on one line, without the C++ function and file before them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _LOCATION.sub("", lines[0]).strip()
