"""The faces of a code's cell: the hyperplanes that a feature must not cross.

The features that an index files under the same inverted list, or gives the same bits, fill a convex
polytope. A query that crosses one of its faces is looked for elsewhere, so how far a feature lies
behind the faces says how much an edit may move it.

Inverted lists are Voronoi cells: centroid ``a`` is nearer to the feature ``f`` than ``b`` where
``(c_a - c_b) . f > (|c_a|^2 - |c_b|^2) / 2``, without the right-hand side for inner products. A bit
of locality-sensitive hashing is the side of a hyperplane. Linear transforms before the index only
change the normals.

Another face parts the code from the centroid of its list: :func:`centroid_half_space_of`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Matrix = npt.NDArray[np.float32]

_MOST_RIVALS = 256
"""Other inverted lists whose faces are looked at, nearest first: no edit reaches those behind."""

_FAR = 1e6
"""How deep a feature lies behind a face that is not there."""


@dataclass(frozen=True)
class HalfSpaces:
    """The faces of the cells of features, or of the one cell of all of them.

    Attributes:
        normals: ``(n, m, d)``, of unit length, pointing inwards; n is 1 for one cell.
        offsets: ``(n, m)``.
        unit: Whether the index brings features to unit length first.
        bits: Whether what lies behind each is a bit of the code, and every one that is crossed
            makes the distance larger; otherwise one that is crossed loses the cell.
    """

    normals: torch.Tensor
    offsets: torch.Tensor
    unit: bool
    bits: bool

    def to(self, device: torch.device) -> "HalfSpaces":
        """The same with its tensors on a device."""
        return replace(self, normals=self.normals.to(device), offsets=self.offsets.to(device))

    @classmethod
    def of_several(cls, faces: Sequence[Self]) -> Self:
        """The faces of several cells, in one: as many for each as the one with the most has."""
        most = max(each.offsets.shape[1] for each in faces)
        normals, offsets = [], []
        for each in faces:
            missing = most - each.offsets.shape[1]
            normals.append(F.pad(each.normals, (0, 0, 0, missing)))
            offsets.append(F.pad(each.offsets, (0, missing), value=_FAR))
        return replace(faces[0], normals=torch.cat(normals), offsets=torch.cat(offsets))

    def with_those_of(self, others: Self) -> Self:
        """These faces and others for the same features."""
        normals = torch.cat([self.normals, others.normals], dim=1)
        return replace(self, normals=normals, offsets=torch.cat([self.offsets, others.offsets], 1))

    def advanced(self, by: torch.Tensor) -> Self:
        """The same faces further inwards, ``(n, m)`` in the unit of the features."""
        return replace(self, offsets=self.offsets - by)

    def depth(self, features: torch.Tensor) -> torch.Tensor:
        """How far features ``(B, d)`` lie behind each face: ``(B, m)``, negative when outside.

        In the unit of the features; differentiable.
        """
        inside = F.normalize(features, dim=1) if self.unit else features
        return torch.matmul(self.normals, inside.unsqueeze(2)).squeeze(2) + self.offsets


def half_spaces_of(
    transforms: list[faiss.VectorTransform], codec: faiss.Index, feature: Matrix
) -> HalfSpaces | None:
    """The faces of a feature's cell.

    Args:
        transforms: What the index does to features first.
        codec: The index behind them.
        feature: ``(1, d)``.

    Returns:
        The faces; None if the index has no such cells (it searches everything and compares
        reconstructions), or a transform bends them.
    """
    linear = _Linear.of(transforms, feature.shape[1])
    found = linear and _sides(codec, linear(feature))
    bits = isinstance(codec, faiss.IndexLSH)
    return linear.faces(*found, bits=bits) if linear and found else None


def centroid_half_space_of(
    transforms: list[faiss.VectorTransform], codec: faiss.Index, feature: Matrix
) -> HalfSpaces | None:
    """The face that parts a feature's reconstruction from the centroid of its inverted list.

    An image that is deep in its list may still lose to others there, first to those whose codes
    are near the centroid: away from the faces of the list is towards them. A code at the centroid
    stands for them. Where reconstructions lie far from the centroid the face to it is far away too,
    and changes little; where they crowd around it, it is as near as the faces of the list.

    Args:
        transforms: What the index does to features first.
        codec: The index behind them.
        feature: ``(1, d)``.

    Returns:
        One face; None without inverted lists, where the reconstruction is the centroid itself, or
        where a transform bends the face.
    """
    linear = _Linear.of(transforms, feature.shape[1])
    inverted = faiss.try_extract_index_ivf(codec)
    if linear is None or inverted is None:
        return None
    vector = linear(feature)
    own = int(inverted.quantizer.assign(vector, 1)[0, 0])
    points = (codec.sa_decode(codec.sa_encode(vector))[0], inverted.quantizer.reconstruct(own))
    return linear.faces(*_halfway(np.stack(points), inverted.metric_type), bits=False)


@dataclass(frozen=True)
class _Linear:
    """Transforms as one affine map, and whether features are normalised before it.

    No matrix stands for the identity.
    """

    matrix: npt.NDArray[np.float64] | None
    offset: npt.NDArray[np.float64]
    unit: bool

    @classmethod
    def of(cls, transforms: list[faiss.VectorTransform], dimension: int) -> Self | None:
        """None if they are not linear."""
        matrix: npt.NDArray[np.float64] | None = None
        offset, unit = np.zeros(dimension), False
        for position, transform in enumerate(transforms):
            if isinstance(transform, faiss.NormalizationTransform) and position == 0:
                unit = True
            elif isinstance(transform, faiss.LinearTransform):
                shape = (transform.d_out, transform.d_in)
                step = faiss.vector_to_array(transform.A).reshape(shape).astype(np.float64)
                matrix = step if matrix is None else step @ matrix
                offset = step @ offset
                if transform.have_bias:
                    offset = offset + faiss.vector_to_array(transform.b)
            else:
                return None
        return cls(matrix, offset, unit)

    def __call__(self, feature: Matrix) -> Matrix:
        """What comes out ``(1, d_out)`` for a feature ``(1, d)``."""
        seen = feature / max(float(np.linalg.norm(feature)), 1e-12) if self.unit else feature
        mapped = seen if self.matrix is None else seen @ self.matrix.T + self.offset
        return np.ascontiguousarray(mapped, dtype=np.float32)

    def faces(
        self,
        normals: npt.NDArray[np.float64],
        offsets: npt.NDArray[np.float64],
        *,
        bits: bool,
    ) -> HalfSpaces | None:
        """The faces that are these behind the map; None if there are none."""
        if self.matrix is not None:
            normals, offsets = normals @ self.matrix, offsets + normals @ self.offset
        lengths = np.linalg.norm(normals, axis=1)
        kept = lengths > 1e-12  # Two points may be the same.
        normals, offsets = normals[kept] / lengths[kept, None], offsets[kept] / lengths[kept]
        if not len(normals):
            return None
        return HalfSpaces(_tensor(normals[None]), _tensor(offsets[None]), self.unit, bits)


def _sides(
    codec: faiss.Index, vector: Matrix
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    if isinstance(codec, faiss.IndexLSH):
        return _bits(codec, vector)
    inverted = faiss.try_extract_index_ivf(codec)
    return None if inverted is None else _rivals(inverted, vector)


def _rivals(
    inverted: faiss.IndexIVF, vector: Matrix
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Faces towards the other inverted lists."""
    wanted = min(inverted.nlist, _MOST_RIVALS + 1)
    near = inverted.quantizer.search(vector, wanted)[1][0]
    own = int(inverted.quantizer.assign(vector, 1)[0, 0])
    others = [int(cell) for cell in near if cell not in (own, -1)]
    centroids = inverted.quantizer.reconstruct_batch(np.array([own, *others]))
    return _halfway(centroids, inverted.metric_type)


def _halfway(
    points: Matrix, metric: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Faces between the first point and each of the others, as far from both for the metric."""
    wide = points.astype(np.float64)
    normals = wide[:1] - wide[1:]
    if metric == faiss.METRIC_INNER_PRODUCT:
        return normals, np.zeros(len(normals))
    squares = np.square(wide).sum(axis=1)
    return normals, (squares[1:] - squares[0]) / 2.0


def _bits(
    index: faiss.IndexLSH, vector: Matrix
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Faces of the bits: the sign of every rotated coordinate, beyond its threshold."""
    codec: Any = index  # The stubs do not know all of it.
    normals = np.eye(codec.nbits, codec.d)
    if codec.rotate_data:
        shape = (codec.rrot.d_out, codec.rrot.d_in)
        normals = faiss.vector_to_array(codec.rrot.A).reshape(shape).astype(np.float64)
    offsets = np.zeros(codec.nbits)
    if codec.train_thresholds:
        offsets = -faiss.vector_to_array(codec.thresholds).astype(np.float64)
    sides = np.where(vector[0] @ normals.T + offsets >= 0.0, 1.0, -1.0)
    return normals * sides[:, None], offsets * sides


def _tensor(values: npt.NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))
