"""Training a FAISS index from a factory string, with FAISS's failures as one-line errors."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal, get_args

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.indexing.child import Bytes, run_in_child
from activeindex.indexing.factory import check_factory, suggestion, without_spaces
from activeindex.indexing.nap import (
    check_wanted,
    nuisance_projection,
    set_projection,
    split_factory,
    with_projection,
)
from activeindex.indexing.reading import remember, try_index
from activeindex.indexing.unwrap import unwrapped
from activeindex.runtime.reporting import SILENT, Progress, Reporter

Rows = npt.NDArray[np.float32]

Metric = Literal["L2", "IP"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_FAISS_METRICS = {"L2": faiss.METRIC_L2, "IP": faiss.METRIC_INNER_PRODUCT}
_INDEXES_WITHIN = ("index", "storage", "base_index", "refine_index", "quantizer")
_QUANTISERS_WITHIN = ("pq", "refine_pq", "rq", "q1")
_ROTATION_BITS = 8
"""A rotation is trained with a product quantiser of 8 bits, which it does not keep."""

_FEATURES_PER_CENTROID: int = faiss.ClusteringParameters().min_points_per_centroid
"""Training features per centroid that FAISS advises at least."""

MANY = 1 << 20
"""Training features that an index may have been trained on, where their number is not known."""
_SILENT_SECONDS = 2.0
"""Training that takes no longer shows no progress."""

_WORK = re.compile(r"^training takes (\d+) multiplications")
_CLUSTERING = re.compile(
    r"Clustering (\d+) points in (\d+)D to (\d+) clusters, .* (\d+) iterations"
)
_ITERATION = re.compile(r"^ *Iteration (\d+) \(")


def new_index(factory: str, dimension: int, metric: Metric, count: int) -> faiss.Index:
    """Build an untrained, empty index.

    Args:
        factory: A FAISS factory string, e.g. ``"IVF4096,PQ8x8"``, or one with ``NAP`` before it
            (:mod:`activeindex.indexing.nap`).
        dimension: Number of values in a feature.
        metric: ``"L2"`` or ``"IP"`` (inner product).
        count: Number of training features.

    Raises:
        InputError: If FAISS does not know the factory string or cannot build it for ``dimension``,
            or it has more centroids than there are training features.
    """
    if metric not in _FAISS_METRICS:
        raise InputError(f"quant: expected one of {', '.join(METRICS)}, found {metric!r}")
    plain = without_spaces(factory)
    check_factory(plain, dimension, count)
    try:
        return _built(plain, dimension, metric)
    except InputError as error:
        hint = suggestion(factory, lambda other: _is_possible(other, dimension, metric, count))
        raise InputError(f"{error}{hint}") from None


def _built(factory: str, dimension: int, metric: Metric) -> faiss.Index:
    expected = (
        f"idx_factory {factory!r}: expected a FAISS factory string that fits features of "
        f"dimension {dimension}"
    )
    nuisances, plain = split_factory(factory)
    with library_errors(expected):
        index = faiss.index_factory(dimension, plain, _FAISS_METRICS[metric])
        for rotation in _rotations(index):
            # The one that FAISS would make for itself, with a warning that cannot be switched off.
            rotation.pq = faiss.ProductQuantizer(rotation.d_out, rotation.M, _ROTATION_BITS)
        return with_projection(index) if nuisances else index


def _is_possible(factory: str, dimension: int, metric: Metric, count: int) -> bool:
    try:
        check_factory(factory, dimension, count)
        _built(factory, dimension, metric)
    except InputError:
        return False
    return True


def train_faiss(
    features: Rows,
    factory: str,
    metric: Metric = "L2",
    edited: Sequence[Rows] = (),
    *,
    polysemous: bool = False,
) -> faiss.Index:
    """Build an index and train it in this process; it stays empty.

    Args:
        features: Training features ``(n, d)``.
        factory: A factory string; see :func:`new_index`.
        metric: ``"L2"`` or ``"IP"``.
        edited: For ``NAP``, features of edited copies of the same images: matrices ``(n, d)``.
        polysemous: Whether to number the centroids of product quantisers for polysemous search
            (Douze, Jégou and Perronnin, ECCV 2016), which FAISS does by simulated annealing:
            seconds for each byte of a code. It changes no reconstruction and no distance.

    Raises:
        InputError: If the factory string is unknown, there are fewer features than centroids, a
            ``NAP`` without edited copies, or copies of other images or without a ``NAP``.
        ShapeError: If the features are not a matrix.
    """
    projection = _projection(features, factory, metric, edited)
    return _trained(features, factory, metric, projection, polysemous)


def train_apart(
    features: Rows,
    factory: str,
    metric: Metric = "L2",
    edited: Sequence[Rows] = (),
    *,
    polysemous: bool = False,
    reporter: Reporter = SILENT,
) -> faiss.Index:
    """Train an index as :func:`train_faiss` does, in a child process.

    Ctrl-C ends it at once, and what would crash FAISS is an error. The index is the same.

    Args:
        features: See :func:`train_faiss`.
        factory: See :func:`train_faiss`.
        metric: See :func:`train_faiss`.
        edited: See :func:`train_faiss`.
        polysemous: See :func:`train_faiss`.
        reporter: Gets the progress of a training that takes more than two seconds.

    Raises:
        InputError: See :func:`train_faiss`.
        ShapeError: See :func:`train_faiss`.
    """
    projection = _projection(features, factory, metric, edited)
    request = {
        "shape": features.shape,
        "factory": factory,
        "metric": metric,
        "projected": projection is not None,
        "polysemous": polysemous,
        "threads": faiss.omp_get_max_threads(),
    }
    data = [features] if projection is None else [projection, features]
    with _TrainingProgress(reporter) as progress:
        trained = run_in_child(
            train_here,
            request,
            _refusal(factory, features.shape),
            data=data,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            printed=progress.printed,
        )
    return faiss.deserialize_index(trained)


def train_here(request: dict[str, Any], data: Bytes) -> Bytes:
    """Train the index of :func:`train_apart`, in the child process."""
    faiss.omp_set_num_threads(request["threads"])
    (count, width), values = request["shape"], data.view(np.float32)
    projection = values[: width * width].reshape(width, width) if request["projected"] else None
    features = values[len(values) - count * width :].reshape(count, width)
    factory, metric = request["factory"], request["metric"]
    polysemous, refusal = request["polysemous"], _refusal(factory, features.shape)
    index = _trained(features, factory, metric, projection, polysemous, verbose=True)
    serialised: Bytes = faiss.serialize_index(index)
    try_index(index, refusal)
    remember(hashlib.sha256(serialised.tobytes()).hexdigest())
    return serialised


def _refusal(factory: str, shape: tuple[int, ...]) -> str:
    return f"idx_factory {factory!r}: {shape[0]} features of dimension {shape[1]} cannot train it"


def _projection(
    features: Rows, factory: str, metric: Metric, edited: Sequence[Rows]
) -> Rows | None:
    """Check what an index is to be trained with; return the projection of a ``NAP``."""
    if features.ndim != 2:
        raise ShapeError("training features", ("n", "d"), features.shape)
    count, width = features.shape
    new_index(factory, width, metric, count)
    check_wanted(factory, edited)
    nuisances = split_factory(factory)[0]
    return nuisance_projection(features, edited, nuisances) if nuisances else None


def _trained(
    features: Rows,
    factory: str,
    metric: Metric,
    projection: Rows | None,
    polysemous: bool,
    *,
    verbose: bool = False,
) -> faiss.Index:
    count, width = features.shape
    index = new_index(factory, width, metric, count)
    if projection is not None:
        set_projection(index, projection)
    for clustering in _clusterings(index):
        # FAISS prints, past Python, that it would like more training features.
        clustering.cp.min_points_per_centroid = 1
        clustering.cp.verbose = verbose
    if verbose:
        print(f"training takes {_work(index, count)} multiplications", flush=True)
    for part in _parts(faiss.downcast_index(index)):
        if getattr(part, "do_polysemous_training", False):
            part.do_polysemous_training = polysemous
    with library_errors(_refusal(factory, features.shape)):
        index.train(np.ascontiguousarray(features, dtype=np.float32))
    for rotation in _rotations(index):
        rotation.pq = None
    return index


def few_features(count: int, index: faiss.Index) -> str | None:
    """Return a warning if an index was trained on fewer features than FAISS advises."""
    rotated = [2**_ROTATION_BITS for _ in _rotations(index)]
    centroids = max([*rotated, *_centroids(index)], default=0)
    advised = _FEATURES_PER_CENTROID * centroids
    if count >= advised:
        return None
    return f"{count:,} features for {centroids:,} centroids; {advised:,} advised"


def _rotations(index: faiss.Index) -> list[faiss.OPQMatrix]:
    return [part for part in unwrapped(index)[0] if isinstance(part, faiss.OPQMatrix)]


def _clusterings(index: faiss.Index) -> Iterator[Any]:
    """Yield every part of an index that is trained by clustering."""
    yield from (rotation.pq for rotation in _rotations(index) if rotation.pq is not None)
    for part in _parts(faiss.downcast_index(index)):
        if getattr(part, "cp", None) is not None:
            yield part


def _parts(part: Any) -> Iterator[Any]:
    yield part
    for name in _INDEXES_WITHIN:
        if isinstance(within := getattr(part, name, None), faiss.Index):
            yield from _parts(faiss.downcast_index(within))
    for name in _QUANTISERS_WITHIN:
        if (within := getattr(part, name, None)) is not None:
            yield from _parts(within)


def _centroids(index: faiss.Index) -> Iterator[int]:
    """Yield the number of centroids of each clustering, where it is known beforehand."""
    for part in _clusterings(index):
        if isinstance(part, faiss.ProductQuantizer):
            yield part.ksub
        # A char of C++, which Python sees as a text: 1 where the lists come from no clustering.
        elif isinstance(part, faiss.IndexIVF) and part.quantizer_trains_alone != "\x01":
            yield part.nlist


def _work(index: faiss.Index, count: int) -> int:
    """Count the multiplications of all clusterings; 0 where they are not known beforehand."""
    work = 0
    for part in _clusterings(index):
        rows, iterations = count, part.cp.niter
        if isinstance(part, faiss.ProductQuantizer):
            centroids, width = part.ksub, part.d
        elif isinstance(part, faiss.IndexIVF):
            centroids, width = part.nlist, part.d
        else:
            return 0
        for rotation in _rotations(index):
            if part is rotation.pq:
                rows = min(rows, rotation.max_train_points)
                iterations = rotation.niter_pq_0 + (rotation.niter - 1) * rotation.niter_pq
        work += (
            min(rows, part.cp.max_points_per_centroid * centroids) * centroids * width * iterations
        )
    return work


class _TrainingProgress(ExitStack):
    """Progress of a training, by what FAISS prints; shown after two seconds."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter, self._begun = reporter, reporter.clock()
        self._stage: Progress | None = None
        self._total = self._done = self._clustering = self._iterations = self._shown = 0

    def printed(self, line: str) -> None:
        """Read a line."""
        if found := _WORK.search(line):
            self._total = int(found[1])
        elif found := _CLUSTERING.search(line):
            points, width, centroids, self._iterations = map(int, found.groups())
            self._done += self._clustering
            self._clustering = points * width * centroids * self._iterations
        elif found := _ITERATION.search(line):
            done = self._done + self._clustering * (int(found[1]) + 1) // self._iterations
            self._show(min(99, 100 * done // self._total) if self._total else self._shown + 1)

    def _show(self, done: int) -> None:
        if self._stage is None and self._reporter.clock() - self._begun > _SILENT_SECONDS:
            total, unit = (100, "%") if self._total else (None, "iteration")
            self._shown = done
            self._stage = self.enter_context(self._reporter.stage("training", total, done, unit))
        elif self._stage is not None:
            self._stage.advance(done - self._shown)
            self._shown = done
