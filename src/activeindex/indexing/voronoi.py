"""Half-spaces whose intersection is the cell of a code, and the margins of features in them.

The features that an index assigns to the same inverted list, or gives the same bits, fill a convex
polytope: an intersection of half-spaces. A query outside one of them is searched for in another
cell, so the margin of a feature, its signed distance to the bounding hyperplanes, says how far an
edit may move it.

Inverted lists are Voronoi cells. A feature ``f`` is nearer to the centroid ``a`` than to ``b`` on
one side of their bisecting hyperplane: where ``(a - b) . f > (|a|^2 - |b|^2) / 2``, without the
right-hand side for inner products. A bit of locality-sensitive hashing is the side of a hyperplane.
Linear transforms before the index only change the normals.

One more half-space separates the reconstruction of a code from the centroid of its list:
:func:`centroid_half_space_of`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from activeindex.indexing.unwrap import matrix_of

Matrix = npt.NDArray[np.float32]
Planes = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Normals ``(m, d)`` and offsets ``(m,)`` of hyperplanes."""

_NEIGHBOURS = 256
"""Nearest neighbouring cells that are considered; no edit reaches those behind them."""

_FAR = 1e6
"""Margin used to pad missing half-spaces."""


@dataclass(frozen=True)
class HalfSpaces:
    """Half-spaces of the cells of ``n`` features, ``m`` each, or of one cell that all share.

    Attributes:
        normals: ``(n, m, d)``, of unit length, pointing inwards; n is 1 for one cell.
        offsets: ``(n, m)``.
        unit: Whether the index brings features to unit length first.
        bits: Whether each half-space is a bit of the code, so that every one that a feature leaves
            adds to its distance; otherwise a feature that leaves one has left the cell.
    """

    normals: torch.Tensor
    offsets: torch.Tensor
    unit: bool
    bits: bool

    def to(self, device: torch.device) -> "HalfSpaces":
        """Return the same with its tensors on a device."""
        return replace(self, normals=self.normals.to(device), offsets=self.offsets.to(device))

    @classmethod
    def of_several(cls, cells: Sequence[Self]) -> Self:
        """Stack the half-spaces of several features, padded to the largest number of any."""
        most = max(each.offsets.shape[1] for each in cells)
        normals, offsets = [], []
        for each in cells:
            missing = most - each.offsets.shape[1]
            normals.append(F.pad(each.normals, (0, 0, 0, missing)))
            offsets.append(F.pad(each.offsets, (0, missing), value=_FAR))
        return replace(cells[0], normals=torch.cat(normals), offsets=torch.cat(offsets))

    def with_those_of(self, others: Self) -> Self:
        """Return these half-spaces and others for the same features."""
        normals = torch.cat([self.normals, others.normals], dim=1)
        return replace(self, normals=normals, offsets=torch.cat([self.offsets, others.offsets], 1))

    def advanced(self, by: torch.Tensor) -> Self:
        """Move the hyperplanes inwards by distances ``(n, m)``."""
        return replace(self, offsets=self.offsets - by)

    def margin(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the signed distances of features ``(B, d)`` to each hyperplane, differentiably.

        Returns:
            ``(B, m)``; positive inside, negative outside.
        """
        inside = F.normalize(features, dim=1) if self.unit else features
        return torch.matmul(self.normals, inside.unsqueeze(2)).squeeze(2) + self.offsets


def half_spaces_of(
    transforms: list[faiss.VectorTransform], codec: faiss.Index, feature: Matrix
) -> HalfSpaces | None:
    """Find the half-spaces of a feature's cell.

    Args:
        transforms: The transforms before the index.
        codec: The index behind them.
        feature: ``(1, d)``.

    Returns:
        The half-spaces; None if the index has no such cells (it compares every reconstruction), or
        a transform is not linear.
    """
    affine = _Affine.of(transforms, feature.shape[1])
    if affine is None:
        return None
    vector = affine(feature)
    if isinstance(codec, faiss.IndexLSH):
        return affine.half_spaces(_bit_planes(codec, vector), bits=True)
    inverted = faiss.try_extract_index_ivf(codec)
    if inverted is None:
        return None
    near = inverted.quantizer.search(vector, min(inverted.nlist, _NEIGHBOURS + 1))[1][0]
    own = int(inverted.quantizer.assign(vector, 1)[0, 0])
    others = [int(cell) for cell in near if cell not in (own, -1)]
    centroids = inverted.quantizer.reconstruct_batch(np.array([own, *others]))
    return affine.half_spaces(_bisectors(centroids, inverted.metric_type))


def centroid_half_space_of(
    transforms: list[faiss.VectorTransform], codec: faiss.Index, feature: Matrix
) -> HalfSpaces | None:
    """Find the half-space between a feature's reconstruction and the centroid of its list.

    An image with a large margin in its cell may still lose to others in the same list, first to
    those whose codes are near the centroid: away from the hyperplanes of the cell is towards them.
    A code at the centroid stands for them. Where reconstructions lie far from the centroid, the
    bisecting hyperplane is far away too, and changes little; where they crowd around it, it is as
    near as the hyperplanes of the cell.

    Args:
        transforms: The transforms before the index.
        codec: The index behind them.
        feature: ``(1, d)``.

    Returns:
        One half-space; None without inverted lists, where the reconstruction is the centroid
        itself, or where a transform is not linear.
    """
    affine = _Affine.of(transforms, feature.shape[1])
    inverted = faiss.try_extract_index_ivf(codec)
    if affine is None or inverted is None:
        return None
    vector = affine(feature)
    own = int(inverted.quantizer.assign(vector, 1)[0, 0])
    points = (codec.sa_decode(codec.sa_encode(vector))[0], inverted.quantizer.reconstruct(own))
    return affine.half_spaces(_bisectors(np.stack(points), inverted.metric_type))


@dataclass(frozen=True)
class _Affine:
    """Linear transforms as one affine map, after unit length if ``unit``.

    The matrix is None for the identity.
    """

    matrix: npt.NDArray[np.float64] | None
    offset: npt.NDArray[np.float64]
    unit: bool

    @classmethod
    def of(cls, transforms: list[faiss.VectorTransform], dimension: int) -> Self | None:
        """Compose transforms; None if one is not linear."""
        matrix: npt.NDArray[np.float64] | None = None
        offset, unit = np.zeros(dimension), False
        for position, transform in enumerate(transforms):
            if isinstance(transform, faiss.NormalizationTransform) and position == 0:
                unit = True
            elif isinstance(transform, faiss.LinearTransform):
                step = matrix_of(transform)
                matrix = step if matrix is None else step @ matrix
                offset = step @ offset
                if transform.have_bias:
                    offset = offset + faiss.vector_to_array(transform.b)
            else:
                return None
        return cls(matrix, offset, unit)

    def __call__(self, feature: Matrix) -> Matrix:
        """Map a feature ``(1, d)`` to ``(1, d_out)``."""
        seen = feature / max(float(np.linalg.norm(feature)), 1e-12) if self.unit else feature
        mapped = seen if self.matrix is None else seen @ self.matrix.T + self.offset
        return np.ascontiguousarray(mapped, dtype=np.float32)

    def half_spaces(self, planes: Planes, *, bits: bool = False) -> HalfSpaces | None:
        """Pull hyperplanes behind the map back to before it; None if there are none."""
        normals, offsets = planes
        if self.matrix is not None:
            normals, offsets = normals @ self.matrix, offsets + normals @ self.offset
        lengths = np.linalg.norm(normals, axis=1)
        kept = lengths > 1e-12  # Two centroids may be equal.
        if not kept.any():
            return None
        unit_normals, distances = (
            torch.from_numpy((values[kept] / scale).astype(np.float32)).unsqueeze(0)
            for values, scale in ((normals, lengths[kept, None]), (offsets, lengths[kept]))
        )
        return HalfSpaces(unit_normals, distances, self.unit, bits)


def _bisectors(points: Matrix, metric: int) -> Planes:
    """Hyperplanes of equal distance between the first point and each of the others."""
    wide = points.astype(np.float64)
    normals = wide[:1] - wide[1:]
    if metric == faiss.METRIC_INNER_PRODUCT:
        return normals, np.zeros(len(normals))
    squares = np.square(wide).sum(axis=1)
    return normals, (squares[1:] - squares[0]) / 2.0


def _bit_planes(index: faiss.IndexLSH, vector: Matrix) -> Planes:
    """Hyperplanes of the bits: each is the sign of a rotated coordinate minus its threshold."""
    codec: Any = index  # The stubs do not know all of it.
    normals = matrix_of(codec.rrot) if codec.rotate_data else np.eye(codec.nbits, codec.d)
    offsets = np.zeros(codec.nbits)
    if codec.train_thresholds:
        offsets = -faiss.vector_to_array(codec.thresholds).astype(np.float64)
    sides = np.where(vector[0] @ normals.T + offsets >= 0.0, 1.0, -1.0)
    return normals * sides[:, None], offsets * sides
