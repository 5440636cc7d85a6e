"""Positions of queries in the index, measured against the codes of the originals.

A copy is found when its feature falls into the inverted list of its original and near the
reconstruction of its original's code.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from activeindex.activation.objective import choose_targets
from activeindex.indexing.quantiser import Features, Quantiser

Numbers = npt.NDArray[np.int64]


class QueryOffset(NamedTuple):
    """Position of one query; the fields are those of a ``QueryRecord``."""

    cell_kept: bool | None
    """None for an index without inverted lists."""
    distance: float
    other_distance: float | None
    """None if the set has a single image."""


@dataclass(frozen=True, eq=False)
class Originals:
    """The originals of a set, as the index stores them.

    Attributes:
        features: ``(N, d)``, in the order of their numbers.
        quantiser: The index's quantiser.
    """

    features: Features
    quantiser: Quantiser

    @cached_property
    def _cells(self) -> Numbers | None:
        return self.quantiser.coarse_cells(self.features)

    def offsets(self, queries: Features, numbers: Numbers) -> list[QueryOffset]:
        """Positions of queries ``(n, d)``.

        Args:
            queries: Their features.
            numbers: ``(n,)``: the image that each is an edit of. Numbers from N on are of images
                that are not in the set. The *other* image that a query is compared with is the one
                after its own, cyclically, so that it depends on the number alone.
        """
        count = len(self.features)
        own, other = numbers % count, (numbers + 1) % count
        nothing = [None] * len(queries)
        cells, stored = self.quantiser.coarse_cells(queries), self._cells
        kept = nothing if cells is None or stored is None else (cells == stored[own]).tolist()
        others = self.distances(queries, other).tolist() if count > 1 else nothing
        distances = self.distances(queries, own).tolist()
        return list(map(QueryOffset, kept, distances, others))

    def distances(self, queries: Features, numbers: Numbers) -> npt.NDArray[np.float32]:
        """Euclidean distances ``(n,)`` of queries to the reconstructions of originals."""
        originals = np.ascontiguousarray(self.features[numbers])
        reconstructions = choose_targets("pq_recons", originals, self.quantiser)
        distances: npt.NDArray[np.float32] = np.linalg.norm(queries - reconstructions, axis=1)
        return distances
