"""What an index would store for a feature, without storing it."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import NoTargetError, ShapeError
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.training import faiss_reason
from activeindex.indexing.unwrap import unwrapped
from activeindex.indexing.voronoi import HalfSpaces, centroid_half_space_of, half_spaces_of

Features = npt.NDArray[np.float32]

_LOCAL_SEARCH = threading.Lock()
"""FAISS 1.15 times all local search quantisers of a process with one table, which threads break."""


class Quantiser:
    """The code and the reconstruction that an index gives to features.

    Nothing is added to the index and nothing in it changes, so one quantiser serves any number of
    threads. Reconstructions are bit-equal to what FAISS reconstructs after an add.

    What does not code is looked through: id maps; graphs (HNSW, NSG), whose codes are in their
    storage; and refinements, whose own vector is (nearly) the feature itself and therefore no
    target: their base index is. Transforms that FAISS does not reverse, ITQ, whitening PCA and
    projections, are reversed by the pseudo-inverse of their linear map.

    Pickled, the index travels with it, so it should be an empty one.

    Args:
        index: A trained FAISS index; vectors that it holds are not looked at.
        identity: What identifies it, for the records of activated images.

    Raises:
        NoTargetError: If the index is not trained, or has no codes to reconstruct from.
    """

    def __init__(self, index: faiss.Index, identity: QuantiserIdentity | None = None) -> None:
        self.identity = identity
        self.index = index  # Kept because it owns what the next line points into.
        self._transforms, self._codec = unwrapped(index)
        _repair(self._codec)
        local_search = "LocalSearch" in _kind(self._codec)
        self._alone: AbstractContextManager[object] = (
            _LOCAL_SEARCH if local_search else nullcontext()
        )
        self.dimension: int = index.d
        if not index.is_trained:
            raise NoTargetError(f"{_kind(index)}: the index is not trained, so it has no codes yet")
        try:
            self._reversals = [_reversal(transform) for transform in reversed(self._transforms)]
            self.reconstruct(np.zeros((1, self.dimension), dtype=np.float32))
        except RuntimeError as error:
            raise NoTargetError(
                f"{_kind(index)}: the index cannot reconstruct a feature from a code, so there is "
                f"nothing to aim at ({faiss_reason(error)})"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (faiss.serialize_index(self.index), self.identity)

    @property
    def code_size(self) -> int:
        """Bytes of one code, the number of its inverted list included."""
        return int(self._codec.sa_code_size())

    @property
    def list_size(self) -> int:
        """First bytes of a code, those of the number of its inverted list; 0 without lists."""
        inverted: Any = faiss.try_extract_index_ivf(self._codec)  # The stubs do not know all of it.
        return 0 if inverted is None else int(inverted.coarse_code_size())

    @property
    def direction_only(self) -> bool:
        """Whether a reconstruction's norm says nothing about the feature's, as with binary codes.

        Such a reconstruction is a direction: good for a cosine, of arbitrary length.
        """
        return isinstance(self._codec, faiss.IndexLSH) or any(
            isinstance(transform, faiss.ITQTransform) for transform in self._transforms
        )

    def encode(self, features: Features) -> npt.NDArray[np.uint8]:
        """The codes ``(n, code_size)`` of features ``(n, d)``.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        vectors = self._transformed(features)
        with self._alone:
            codes: npt.NDArray[np.uint8] = self._codec.sa_encode(vectors)
        return codes

    def decode(self, codes: npt.NDArray[np.uint8]) -> Features:
        """The reconstructions ``(n, d)`` of codes ``(n, code_size)``.

        Raises:
            ShapeError: If the codes have another size than this quantiser's.
        """
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ShapeError("codes", ("n", self.code_size), codes.shape)
        return self._reversed(self._codec.sa_decode(np.ascontiguousarray(codes)))

    def reconstruct(self, features: Features) -> Features:
        """The reconstructions ``(n, d)`` that the index would make of features ``(n, d)``.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        return self.decode(self.encode(features))

    def coarse_centroids(self, features: Features) -> Features:
        """The centroids ``(n, d)`` of the inverted lists that features ``(n, d)`` fall into.

        Raises:
            NoTargetError: If the index has no inverted lists.
            ShapeError: If the features have another dimension than the index.
        """
        cells = self.coarse_cells(features)
        if cells is None:
            raise NoTargetError(
                f"{_kind(self._codec)}: the index has no inverted lists, so there is no coarse "
                "centroid to aim at; use the target pq_recons"
            )
        coarse = faiss.extract_index_ivf(self._codec).quantizer
        return self._reversed(coarse.reconstruct_batch(cells))

    def coarse_cells(self, features: Features) -> npt.NDArray[np.int64] | None:
        """The inverted lists ``(n,)`` that features ``(n, d)`` fall into; None without lists.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        vectors = self._transformed(features)
        inverted = faiss.try_extract_index_ivf(self._codec)
        if inverted is None:
            return None
        cells: npt.NDArray[np.int64] = inverted.quantizer.assign(vectors, 1).ravel()
        return cells

    def faces(self, feature: Features) -> HalfSpaces | None:
        """The faces of the cell that a feature ``(1, d)`` is filed under.

        Returns:
            None if the index has no cells: it compares every reconstruction, or is a graph.

        Raises:
            ShapeError: If the feature has another shape.
        """
        self._check_one(feature)
        return half_spaces_of(self._transforms, self._codec, feature)

    def centroid_half_space(self, feature: Features) -> HalfSpaces | None:
        """The face between the reconstruction of a feature ``(1, d)`` and its coarse centroid.

        Returns:
            None if the index has no inverted lists, or reconstructs the centroid itself.

        Raises:
            ShapeError: If the feature has another shape.
        """
        self._check_one(feature)
        with self._alone:
            return centroid_half_space_of(self._transforms, self._codec, feature)

    def _check_one(self, feature: Features) -> None:
        if feature.shape != (1, self.dimension):
            raise ShapeError("feature", (1, self.dimension), feature.shape)

    def _transformed(self, features: Features) -> Features:
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise ShapeError("features", ("n", self.dimension), features.shape)
        vectors: Features = np.ascontiguousarray(features, dtype=np.float32)
        for transform in self._transforms:
            vectors = transform.apply(vectors)
        return vectors

    def _reversed(self, vectors: Features) -> Features:
        for reverse in self._reversals:
            vectors = reverse(vectors)
        return vectors


def _repair(codec: faiss.Index) -> None:
    """FAISS 1.15 loses a pointer of fast-scan lists when it reads them, and crashes on decoding."""
    lists: Any = codec  # The stubs do not know the pointer.
    if isinstance(codec, faiss.IndexIVFPQFastScan) and lists.fine_quantizer is None:
        lists.fine_quantizer = lists.pq


def _reversal(transform: faiss.VectorTransform) -> Callable[[Features], Features]:
    """What undoes a transform, as far as it can be undone."""
    if isinstance(transform, faiss.ITQTransform):
        # What comes before, centring and scaling to unit length, is lost up to the scale.
        return _pseudo_inverse(transform.pca_then_itq)
    if isinstance(transform, faiss.LinearTransform) and not _is_orthonormal(transform):
        return _pseudo_inverse(transform)
    return transform.reverse_transform


def _is_orthonormal(transform: faiss.LinearTransform) -> bool:
    """FAISS 1.15 notes it of every transform that it reads from a file, whitening ones too."""
    matrix = _matrix(transform)
    small, large = (matrix, matrix.T) if len(matrix) <= len(matrix.T) else (matrix.T, matrix)
    product = small @ large
    # A projection on all but one of many directions is nearly the identity, but for its rank.
    full = abs(np.trace(product) - len(small)) < 0.5
    return bool(full and np.allclose(product, np.eye(len(small)), atol=1e-3))


def _pseudo_inverse(transform: faiss.LinearTransform) -> Callable[[Features], Features]:
    matrix = _matrix(transform)
    # A projection is its own, which takes long to find out in many dimensions.
    square, scale = len(matrix) == len(matrix.T), 1e-4 * np.abs(matrix).max()
    projects = square and np.allclose(matrix @ matrix, matrix.T, rtol=0.0, atol=scale)
    inverse = matrix.T if projects else np.linalg.pinv(matrix)
    offset = faiss.vector_to_array(transform.b) if transform.have_bias else 0.0

    def reverse(vectors: Features) -> Features:
        reversed_: Features = ((vectors - offset) @ inverse.T).astype(np.float32)
        return reversed_

    return reverse


def _matrix(transform: faiss.LinearTransform) -> npt.NDArray[np.float64]:
    values = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
    return values.astype(np.float64)


def _kind(index: faiss.Index) -> str:
    return type(faiss.downcast_index(index)).__name__


def _from_bytes(data: npt.NDArray[np.uint8], identity: QuantiserIdentity | None) -> Quantiser:
    return Quantiser(faiss.deserialize_index(data), identity)
