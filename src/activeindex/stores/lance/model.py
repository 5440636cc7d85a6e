"""Lance's model of a FAISS index: centroids of the lists and codebook of the codes."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import (
    ActiveIndexError,
    InputError,
    MissingExtraError,
    library_errors,
    reason_of,
)
from activeindex.indexing.artefact import TrainedIndex

if TYPE_CHECKING:
    import pyarrow as pa

_BITS = 8


@dataclass(frozen=True)
class LanceModel:
    """Centroids and codebook with which a Lance IVF-PQ index codes exactly as a FAISS index.

    Attributes:
        centroids: ``(nlist, d)``.
        codebook: ``(subvectors, 256, d / subvectors)``, of residuals.
    """

    centroids: npt.NDArray[np.float32]
    codebook: npt.NDArray[np.float32]

    @classmethod
    def of(cls, trained: TrainedIndex) -> "LanceModel":
        """Take the model of a trained index.

        Raises:
            InputError: If Lance has no index of this kind.
        """
        index: Any = faiss.downcast_index(trained.index)
        fits = (
            type(index) is faiss.IndexIVFPQ
            and index.metric_type == faiss.METRIC_L2
            and index.by_residual
            and index.pq.nbits == _BITS
            and isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlat)
        )
        if not fits:
            found = trained.identity.name
            raise InputError(
                f"{trained}: expected IVFn,PQm or IVFn,PQmx8 with the metric L2 for a lance: "
                f"store, found {found}; faiss: takes it"
            )
        pq = index.pq
        codebook = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
        return cls(index.quantizer.reconstruct_n(0, index.nlist), codebook)

    def options(self) -> dict[str, Any]:
        """Arguments for Lance's ``create_index``."""
        return {
            "metric": "L2",
            "num_partitions": len(self.centroids),
            "num_sub_vectors": len(self.codebook),
            "ivf_centroids": vectors(self.centroids),
            "pq_codebook": vectors(self.codebook.reshape(-1, self.codebook.shape[-1])),
        }


def vectors(
    values: npt.NDArray[np.float32], missing: npt.NDArray[np.bool_] | None = None
) -> "pa.FixedSizeListArray":
    """Rows ``(n, d)`` in the type that Lance indexes, null where they are ``missing`` ``(n,)``."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    mask = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)


def lance_library() -> Any:
    """Import the package ``lance``.

    Raises:
        MissingExtraError: If it is not installed.
    """
    os.environ.setdefault("LANCE_LOG", "error")  # Its warnings name every empty list.
    try:
        import lance
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("lance", "pyarrow"):
            raise
        raise MissingExtraError("pylance", "lance", "a lance: store") from None
    return lance


def lance_reason(error: BaseException) -> str:
    """Message of an error of Lance, without the place in its source."""
    return re.sub(r",? ?/\S+\.rs:\d+:\d+", "", reason_of(error))


@contextlib.contextmanager
def lance_errors(uri: str) -> Iterator[None]:
    """Turn whatever Lance, Arrow and Rust raise into an error for the user."""
    with library_errors(f"{uri}: Lance refused; if files are damaged, put them back from a copy"):
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, ActiveIndexError):
                raise
            raise ActiveIndexError(f"{uri}: Lance refused ({lance_reason(error)})") from error
