"""Trained indexes kept on disk, and checked before they are used again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.indexing.layers import below, transforms_of
from activeindex.indexing.training import (
    Metric,
    faiss_reason,
    new_index,
    train_index,
)
from activeindex.running.files import read_json, whole_file, write_json

_CLASSES_IN_FILES = {
    "IndexFlatL2": "IndexFlat",
    "IndexFlatIP": "IndexFlat",
    "OPQMatrix": "LinearTransform",
}
"""FAISS builds and reads some kinds as two classes."""


def index_path(idx_dir: Path, factory: str, metric: Metric) -> Path:
    """Where the trained index of a factory string is kept."""
    return idx_dir / f"idx={factory}_quant={metric}.index"


def load_or_train(
    path: Path,
    factory: str,
    metric: Metric,
    dimension: int,
    training_features: Callable[[], npt.NDArray[np.float32]],
    provenance: dict[str, Any],
) -> faiss.Index:
    """The trained, empty index at ``path``; trained and written there when there is none yet.

    A file that is there must be what ``factory``, ``metric`` and ``dimension`` say, and where a
    note of its provenance lies beside it (``.json``), every entry that both notes have must agree.

    Args:
        path: See :func:`index_path`.
        factory: A FAISS factory string.
        metric: ``"L2"`` or ``"IP"``.
        dimension: Number of values in a feature.
        training_features: Gives the training features ``(n, d)``; called only to train.
        provenance: What the features come from, e.g. ``{"extractor": "..."}``.

    Raises:
        InputError: If the file is another index than asked for, or training is impossible.
    """
    note_path = path.with_suffix(".json")
    if path.exists():
        index = read_index(path)
        _check_same_kind(path, index, factory, metric, dimension)
        if note_path.exists():
            _check_provenance(path, read_json(note_path), provenance)
        return index
    features = training_features()
    index = train_index(features, factory, metric)
    note = {
        "idx_factory": factory,
        "quant": metric,
        "dimension": dimension,
        "training_features": len(features),
        "faiss": faiss.__version__,
        **provenance,
    }
    # The note comes first: an index without one would pass for trained by another program.
    write_json(note_path, note)
    with whole_file(path) as beside:
        faiss.write_index(index, str(beside))
    return index


def read_index(path: Path) -> faiss.Index:
    """Reads a FAISS index file.

    Raises:
        InputError: If the file is not one.
    """
    try:
        return faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: expected a FAISS index file ({faiss_reason(error)})") from None


def _check_same_kind(
    path: Path, index: faiss.Index, factory: str, metric: Metric, dimension: int
) -> None:
    advice = "delete it, or give another idx_dir"
    if index.d != dimension:
        raise InputError(
            f"{path}: expected an index for features of dimension {dimension}, "
            f"found dimension {index.d}; {advice}"
        )
    expected, found = (_structure(i) for i in (new_index(factory, dimension, metric), index))
    for (name, wanted), (_, there) in zip(expected.items(), found.items(), strict=True):
        if wanted != there:
            raise InputError(f"{path}: expected {name} {wanted}, found {there}; {advice}")
    if not index.is_trained or index.ntotal:
        state = f"{index.ntotal} vectors in it" if index.is_trained else "an untrained one"
        raise InputError(f"{path}: expected a trained, empty index, found {state}; {advice}")


def _structure(index: faiss.Index) -> dict[str, Any]:
    """What tells apart indexes of different factory strings, metrics and sizes."""
    metrics = {faiss.METRIC_L2: "L2", faiss.METRIC_INNER_PRODUCT: "IP"}
    inner: Any = faiss.downcast_index(index)
    kinds = [_class_name(inner)]
    while (lower := below(inner)) is not None:
        kinds += [_class_name(transform) for transform in transforms_of(inner)]
        inner = lower
        kinds.append(_class_name(inner))
    pq = getattr(inner, "pq", None)
    lists = isinstance(inner, faiss.IndexIVF)
    return {
        "metric": metrics.get(index.metric_type, str(index.metric_type)),
        "type": " > ".join(kinds),
        "inner dimension": inner.d,
        "inverted lists": inner.nlist if lists else 0,
        "coarse quantiser": _class_name(faiss.downcast_index(inner.quantizer)) if lists else "none",
        "bytes per code": getattr(inner, "code_size", 0),
        "product quantiser": f"{pq.M}x{pq.nbits}" if pq is not None else "none",
    }


def _class_name(part: object) -> str:
    """The class of an index or a transform; the same before writing and after reading."""
    name = type(part).__name__
    return _CLASSES_IN_FILES.get(name, name)


def check_extractor(path: Path, extractor: str) -> None:
    """Checks that the index at ``path`` was trained on the features of an extractor.

    Nothing is checked where no note lies beside the index.

    Raises:
        InputError: If the note names another extractor.
    """
    note = path.with_suffix(".json")
    if note.exists():
        _check_provenance(path, read_json(note), {"extractor": extractor})


def _check_provenance(path: Path, note: dict[str, Any], provenance: dict[str, Any]) -> None:
    for key, wanted in provenance.items():
        if wanted is not None and note.get(key) not in (None, wanted):
            raise InputError(
                f"{path}: expected an index trained with {key} {wanted}, found {note[key]}; "
                "give another idx_dir, or the features of the same extractor"
            )
