"""Index files: where they are kept, and what is checked before they are used again."""

from pathlib import Path
from typing import Any

import faiss

from activeindex.errors import InputError
from activeindex.indexing.training import (
    Metric,
    faiss_reason,
    new_index,
)
from activeindex.indexing.unwrap import inner_index, transforms_of

_CLASSES_IN_FILES = {
    "IndexFlatL2": "IndexFlat",
    "IndexFlatIP": "IndexFlat",
    "OPQMatrix": "LinearTransform",
}
"""FAISS builds and reads some kinds as two classes."""


def index_path(idx_dir: Path, factory: str, metric: Metric) -> Path:
    """Where the trained index of a factory string is kept."""
    return idx_dir / f"idx={factory}_quant={metric}.index"


def read_index(path: Path, *, mapped: bool = False) -> faiss.Index:
    """Reads a FAISS index file.

    Args:
        path: The file.
        mapped: Whether to leave the codes on the disk, from where a search reads the pages that
            it visits: opening takes no time, and memory holds what was searched lately. Such an
            index is for searching: FAISS 1.15 ends the process that adds to it.

    Raises:
        InputError: If the file is not one.
    """
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: expected a FAISS index file ({faiss_reason(error)})") from None


def check_same_kind(
    path: Path, index: faiss.Index, factory: str, metric: Metric, dimension: int
) -> None:
    """Checks that the index read from ``path`` is trained, empty and what the others say.

    Raises:
        InputError: If it is not, naming the file, what was expected and what was found.
    """
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
    while (lower := inner_index(inner)) is not None:
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
