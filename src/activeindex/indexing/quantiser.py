"""What an index would store for a feature, without storing it."""

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import NoTargetError, ShapeError
from activeindex.indexing.training import faiss_reason, transforms_of

Features = npt.NDArray[np.float32]


class Quantiser:
    """The code and the reconstruction that an index gives to features.

    Nothing is added to the index and nothing in it changes, so one quantiser serves any number of
    threads. Reconstructions are bit-equal to what FAISS reconstructs after an add.

    Wrappers that do not code are looked through: an id map, and a refinement, whose own vector is
    (nearly) the feature itself and therefore no target; its base index is.

    Args:
        index: A trained FAISS index; vectors that it holds are not looked at.

    Raises:
        NoTargetError: If the index is not trained, or has no codes to reconstruct from.
    """

    def __init__(self, index: faiss.Index) -> None:
        self._outer = index  # Kept because it owns what the next line points into.
        self._index = _coding_index(index)
        self.dimension: int = index.d
        if not index.is_trained:
            raise NoTargetError(f"{_kind(index)}: the index is not trained, so it has no codes yet")
        try:
            self.reconstruct(np.zeros((1, self.dimension), dtype=np.float32))
        except RuntimeError as error:
            raise NoTargetError(
                f"{_kind(index)}: the index cannot reconstruct a feature from a code, so there is "
                f"nothing to aim at ({faiss_reason(error)})"
            ) from None

    @property
    def code_size(self) -> int:
        """Bytes of one code, the number of its inverted list included."""
        return int(self._index.sa_code_size())

    def encode(self, features: Features) -> npt.NDArray[np.uint8]:
        """The codes ``(n, code_size)`` of features ``(n, d)``."""
        codes: npt.NDArray[np.uint8] = self._index.sa_encode(self._checked(features))
        return codes

    def decode(self, codes: npt.NDArray[np.uint8]) -> Features:
        """The reconstructions ``(n, d)`` of codes ``(n, code_size)``.

        Raises:
            ShapeError: If the codes have another size than this quantiser's.
        """
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ShapeError("codes", ("n", self.code_size), codes.shape)
        reconstructions: Features = self._index.sa_decode(np.ascontiguousarray(codes))
        return reconstructions

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
        inverted = faiss.try_extract_index_ivf(self._index)
        if inverted is None:
            raise NoTargetError(
                f"{_kind(self._index)}: the index has no inverted lists, so there is no coarse "
                "centroid to aim at; use the target pq_recons"
            )
        transforms = transforms_of(self._index)
        vectors = self._checked(features)
        for transform in transforms:
            vectors = transform.apply(vectors)
        cells = inverted.quantizer.assign(vectors, 1).ravel()
        centroids: Features = np.stack([inverted.quantizer.reconstruct(int(c)) for c in cells])
        for transform in reversed(transforms):
            centroids = transform.reverse_transform(centroids)
        return centroids

    def _checked(self, features: Features) -> Features:
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise ShapeError("features", ("n", self.dimension), features.shape)
        return np.ascontiguousarray(features, dtype=np.float32)


def _coding_index(index: faiss.Index) -> faiss.Index:
    """The index whose codes decide what is found: below id maps and refinements."""
    inner = faiss.downcast_index(index)
    # Asking an id map itself to reconstruct aborts the process (FAISS 1.15).
    if isinstance(inner, faiss.IndexIDMap | faiss.IndexIDMap2):
        return _coding_index(inner.index)
    if isinstance(inner, faiss.IndexRefine):
        return _coding_index(inner.base_index)
    return inner


def _kind(index: faiss.Index) -> str:
    return type(faiss.downcast_index(index)).__name__
