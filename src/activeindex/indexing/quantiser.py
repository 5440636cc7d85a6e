"""The code and the reconstruction that an index gives to a feature, without an add."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import NoTargetError, ShapeError, library_errors
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.search import emptied
from activeindex.indexing.unwrap import class_name, matrix_of, unwrapped

if TYPE_CHECKING:
    from activeindex.indexing.voronoi import HalfSpaces

Features = npt.NDArray[np.float32]

_LOCAL_SEARCH = threading.Lock()
"""FAISS 1.15 times all local search quantisers of a process in one table, which threads corrupt."""


class Quantiser:
    """The code and the reconstruction that an index gives to features.

    Nothing is added to the index and nothing in it changes, so threads may share a quantiser.
    Reconstructions are bit-equal to those of FAISS after an add.

    Id maps are looked through, and graphs (HNSW, NSG), whose codes are in their storage. Of a
    refinement the base index counts: its own vector is (nearly) the feature itself and therefore
    no target. Transforms that FAISS does not reverse (ITQ, whitening PCA and projections) are
    reversed by the pseudo-inverse of their linear map.

    A pickled quantiser contains its index without the vectors in it.

    Args:
        index: A trained FAISS index; vectors in it are ignored.
        identity: Its identity, for the records of activated images.

    Raises:
        NoTargetError: If the index is not trained, or has no codes to reconstruct from.

    Example:
        >>> index = faiss.index_factory(8, "IVF2,PQ4x2np")
        >>> index.train(np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32))
        >>> quantiser = Quantiser(index)
        >>> features = np.ones((3, 8), np.float32)
        >>> quantiser.encode(features).shape, quantiser.reconstruct(features).shape
        ((3, 2), (3, 8))
    """

    def __init__(self, index: faiss.Index, identity: QuantiserIdentity | None = None) -> None:
        self.identity = identity
        self.index = index  # Kept: it owns the memory of its parts.
        self._transforms, self._codec = unwrapped(index)
        local_search = "LocalSearch" in class_name(self._codec)
        self._alone: AbstractContextManager[object] = (
            _LOCAL_SEARCH if local_search else nullcontext()
        )
        self.dimension: int = index.d
        kind = class_name(index)
        if not index.is_trained:
            raise NoTargetError(f"{kind}: the index is not trained, so it has no codes yet")
        refusal = (
            f"{kind}: the index cannot reconstruct a feature from a code, so there is nothing to "
            "aim at"
        )
        with library_errors(refusal, NoTargetError):
            self._reversals = [_reversal(transform) for transform in reversed(self._transforms)]
            self.reconstruct(np.zeros((1, self.dimension), dtype=np.float32))

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (faiss.serialize_index(emptied(self.index)), self.identity)

    @property
    def code_size(self) -> int:
        """Bytes of one code, the number of its inverted list included."""
        return int(self._codec.sa_code_size())

    @property
    def list_size(self) -> int:
        """Bytes at the start of a code that hold the number of its inverted list; 0 without."""
        inverted: Any = faiss.try_extract_index_ivf(self._codec)  # The stubs do not know all of it.
        return 0 if inverted is None else int(inverted.coarse_code_size())

    @property
    def direction_only(self) -> bool:
        """True if reconstructions are directions of arbitrary length, as with binary codes."""
        return isinstance(self._codec, faiss.IndexLSH) or any(
            isinstance(transform, faiss.ITQTransform) for transform in self._transforms
        )

    def encode(self, features: Features) -> npt.NDArray[np.uint8]:
        """Return the codes ``(n, code_size)`` of features ``(n, d)``.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        vectors = self._transformed(features)
        with self._alone:
            codes: npt.NDArray[np.uint8] = self._codec.sa_encode(vectors)
        return codes

    def decode(self, codes: npt.NDArray[np.uint8]) -> Features:
        """Return the reconstructions ``(n, d)`` of codes ``(n, code_size)``.

        Raises:
            ShapeError: If the codes have another size than this quantiser's.
        """
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ShapeError("codes", ("n", self.code_size), codes.shape)
        return self._reversed(self._codec.sa_decode(np.ascontiguousarray(codes)))

    def reconstruct(self, features: Features) -> Features:
        """Return the reconstructions ``(n, d)`` of features ``(n, d)``.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        return self.decode(self.encode(features))

    def coarse_centroids(self, features: Features) -> Features:
        """Return the centroids ``(n, d)`` of the inverted lists of features ``(n, d)``.

        Raises:
            NoTargetError: If the index has no inverted lists.
            ShapeError: If the features have another dimension than the index.
        """
        cells = self.coarse_cells(features)
        if cells is None:
            raise NoTargetError(
                f"{class_name(self._codec)}: the index has no inverted lists, so there is no "
                "coarse centroid to aim at; use the target pq_recons"
            )
        coarse = faiss.extract_index_ivf(self._codec).quantizer
        return self._reversed(coarse.reconstruct_batch(cells))

    def coarse_cells(self, features: Features) -> npt.NDArray[np.int64] | None:
        """Return the inverted lists ``(n,)`` of features ``(n, d)``; None without lists.

        Raises:
            ShapeError: If the features have another dimension than the index.
        """
        vectors = self._transformed(features)
        inverted = faiss.try_extract_index_ivf(self._codec)
        if inverted is None:
            return None
        cells: npt.NDArray[np.int64] = inverted.quantizer.assign(vectors, 1).ravel()
        return cells

    def half_spaces(self, feature: Features) -> "HalfSpaces | None":
        """Return the half-spaces of the cell of a feature ``(1, d)``.

        Returns:
            None if the index has no cells: it compares every reconstruction, or is a graph.

        Raises:
            ShapeError: If the feature has another shape.
        """
        from activeindex.indexing.voronoi import half_spaces_of  # Imports PyTorch.

        self._check_one(feature)
        return half_spaces_of(self._transforms, self._codec, feature)

    def centroid_half_space(self, feature: Features) -> "HalfSpaces | None":
        """Return the half-space between the reconstruction of ``(1, d)`` and its coarse centroid.

        Returns:
            None if the index has no inverted lists, or reconstructs the centroid itself.

        Raises:
            ShapeError: If the feature has another shape.
        """
        from activeindex.indexing.voronoi import centroid_half_space_of  # Imports PyTorch.

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


def _reversal(transform: faiss.VectorTransform) -> Callable[[Features], Features]:
    """Return the function that undoes a transform, as far as it can be undone."""
    if isinstance(transform, faiss.ITQTransform):
        # The centring and scaling to unit length before it are lost up to the scale.
        return _pseudo_inverse(transform.pca_then_itq)
    if isinstance(transform, faiss.LinearTransform) and not _is_orthonormal(transform):
        return _pseudo_inverse(transform)
    return transform.reverse_transform


def _is_orthonormal(transform: faiss.LinearTransform) -> bool:
    """FAISS 1.15 says so of every transform that it reads from a file, even whitening ones."""
    matrix = matrix_of(transform)
    small, large = (matrix, matrix.T) if len(matrix) <= len(matrix.T) else (matrix.T, matrix)
    product = small @ large
    # A projection that takes out few of many directions is nearly the identity, but for its rank.
    full = abs(np.trace(product) - len(small)) < 0.5
    return bool(full and np.allclose(product, np.eye(len(small)), atol=1e-3))


def _pseudo_inverse(transform: faiss.LinearTransform) -> Callable[[Features], Features]:
    matrix = matrix_of(transform)
    # A projection is its own pseudo-inverse, which is slow to compute in many dimensions.
    square, scale = len(matrix) == len(matrix.T), 1e-4 * np.abs(matrix).max()
    projects = square and np.allclose(matrix @ matrix, matrix.T, rtol=0.0, atol=scale)
    inverse = matrix.T if projects else np.linalg.pinv(matrix)
    offset = faiss.vector_to_array(transform.b) if transform.have_bias else 0.0

    def reverse(vectors: Features) -> Features:
        reversed_: Features = ((vectors - offset) @ inverse.T).astype(np.float32)
        return reversed_

    return reverse


def _from_bytes(data: npt.NDArray[np.uint8], identity: QuantiserIdentity | None) -> Quantiser:
    return Quantiser(faiss.deserialize_index(data), identity)
