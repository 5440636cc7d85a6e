"""Whitening: a linear map behind an extractor, fitted on training features."""

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.extractors.base import Extractor
from activeindex.identity import ExtractorIdentity, same
from activeindex.runtime.files import read_bytes, whole_file

_ARRAYS = ("mean", "matrix", "extractor", "training_sha256")
_FLOOR = 1e-6
"""Eigenvalues below this share of the largest count as it: their directions are noise."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """PCA-whitening, then unit length.

    Features are centred, projected on their principal directions and scaled to unit variance there
    (Jegou and Chum, Negative evidences and co-occurences in image retrieval: the benefit of PCA and
    whitening, ECCV 2012).

    Attributes:
        mean: ``(d,)``.
        matrix: ``(k, d)``, the directions with the largest variance first.
        extractor: The extractor that it was fitted for; None if that is not known.
        training_sha256: Hash of the training features.
    """

    mean: npt.NDArray[np.float32]
    matrix: npt.NDArray[np.float32]
    extractor: ExtractorIdentity | None
    training_sha256: str

    @classmethod
    def fit(
        cls,
        features: npt.NDArray[np.float32],
        dimension: int | None = None,
        *,
        extractor: ExtractorIdentity | None = None,
        training_sha256: str = "",
    ) -> Self:
        """Fit on training features ``(n, d)``.

        Args:
            features: Features of many more images than ``dimension``.
            dimension: Number ``k`` of directions to keep; all ``d`` by default.
            extractor: Extractor of the features.
            training_sha256: Their hash.

        Raises:
            ShapeError: If the features are not a matrix.
            InputError: If there are not more features than directions, or fewer values than that.
        """
        if features.ndim != 2:
            raise ShapeError("training features", ("n", "d"), features.shape)
        count, width = features.shape
        kept = width if dimension is None else dimension
        if not 1 <= kept <= width:
            raise InputError(f"dimension: expected 1 to {width}, found {kept}")
        if count <= kept:
            raise InputError(
                f"whitening: expected more than {kept} training features, found {count}"
            )
        centre = features.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((width, width))
        for start in range(0, count, 65536):
            rows = features[start : start + 65536] - centre
            covariance += rows.T @ rows
        values, vectors = np.linalg.eigh(covariance / count)
        values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
        scales = np.sqrt(np.maximum(values, _FLOOR * max(values[0], 1e-30)))
        mean, matrix = centre.astype(np.float32), (vectors / scales).T.astype(np.float32)
        return cls(mean, matrix, extractor, training_sha256)

    @property
    def sha256(self) -> str:
        """SHA-256 of the values."""
        return hashlib.sha256(self.mean.tobytes() + self.matrix.tobytes()).hexdigest()

    def write(self, path: Path) -> None:
        """Write a ``.npz`` file, whole or not at all."""
        if path.suffix != ".npz":
            raise InputError(f"out {path}: expected a name that ends in .npz")
        extractor = json.dumps(self.extractor.as_json()) if self.extractor else ""
        values = (self.mean, self.matrix, extractor, self.training_sha256)
        arrays = {name: np.array(value) for name, value in zip(_ARRAYS, values, strict=True)}
        with whole_file(path) as beside:
            np.savez(beside, **arrays)  # type: ignore[arg-type]  # Names of arrays, not options.

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of :meth:`write`; nothing is unpickled.

        Raises:
            InputError: If the file is something else.
        """
        data = read_bytes(path, "whitening")
        expected = f"whitening {path}: expected a file of activeindex whiten"
        with library_errors(expected), np.load(io.BytesIO(data), allow_pickle=False) as file:
            mean, matrix, extractor, training = (file[name] for name in _ARRAYS)
        good = mean.ndim == 1 and matrix.ndim == 2 and matrix.shape[1] == len(mean)
        types = {mean.dtype, matrix.dtype}
        if not good or types != {np.dtype(np.float32)}:
            raise InputError(
                f"whitening {path}: expected float32 mean (d,) and matrix (k, d), found "
                f"{mean.dtype} {mean.shape} and {matrix.dtype} {matrix.shape}"
            )
        identity = ExtractorIdentity.from_json(str(extractor), where=f"whitening {path}")
        return cls(mean, matrix, identity, str(training))


class WhitenedExtractor(Extractor):
    """An extractor with a whitening behind it, differentiable as a whole.

    Args:
        extractor: Gives features ``(B, d)``.
        whitening: Makes them ``(B, k)``; its hash becomes part of the name.

    Raises:
        InputError: If the whitening was fitted for another extractor or another dimension.
    """

    def __init__(self, extractor: Extractor, whitening: Whitening) -> None:
        here, fitted_for = extractor.identity, whitening.extractor
        if not same(here, fitted_for):
            raise InputError(
                f"whitening: expected one fitted for {here}, found one for {fitted_for}"
            )
        kept, width = whitening.matrix.shape
        if width != extractor.dimension:
            raise InputError(
                f"whitening: expected one of features of dimension {extractor.dimension}, found "
                f"dimension {width}"
            )
        super().__init__(replace(here, whitening=whitening.sha256), kept)
        self.notes = extractor.notes
        self.extractor = extractor
        self.mean: torch.Tensor
        self.matrix: torch.Tensor
        self.register_buffer("mean", torch.from_numpy(whitening.mean))
        self.register_buffer("matrix", torch.from_numpy(whitening.matrix))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        features = self.extractor(images)
        return F.normalize((features - self.mean) @ self.matrix.T, dim=1)
