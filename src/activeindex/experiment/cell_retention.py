"""Where queries land, measured against the codes of the originals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from activeindex.activation.objective import choose_targets
from activeindex.indexing.quantiser import Quantiser

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class QueryOffset:
    """Where ``n`` queries landed; the fields are those of a ``QueryRecord``.

    Attributes:
        kept: ``(n,)``; None for an index without inverted lists.
        distances: ``(n,)``.
        other_distances: ``(n,)``; None if the set has a single image.
    """

    kept: npt.NDArray[np.bool_] | None
    distances: npt.NDArray[np.float32]
    other_distances: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Originals:
    """The originals of a set, as the index sees them.

    Attributes:
        features: ``(N, d)``, in the order of their numbers.
        quantiser: The index's quantiser.
    """

    features: Features
    quantiser: Quantiser

    @cached_property
    def _cells(self) -> npt.NDArray[np.int64] | None:
        return self.quantiser.coarse_cells(self.features)

    def landings(self, queries: Features, numbers: npt.NDArray[np.int64]) -> QueryOffset:
        """Where queries ``(n, d)`` landed.

        Args:
            queries: Their features.
            numbers: ``(n,)``: the image that each is an edit of. Numbers from N on are of images
                that are not in the set. The *other* image that a query is held against is the one
                after its own, round and round, so that it depends on nothing but the number.
        """
        count = len(self.features)
        own, other = numbers % count, (numbers + 1) % count
        cells = self.quantiser.coarse_cells(queries)
        return QueryOffset(
            None if cells is None or self._cells is None else cells == self._cells[own],
            self._distances(queries, own),
            self._distances(queries, other) if count > 1 else None,
        )

    def _distances(
        self, queries: Features, numbers: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        originals = np.ascontiguousarray(self.features[numbers])
        reconstructions = choose_targets("pq_recons", originals, self.quantiser)
        distances: npt.NDArray[np.float32] = np.linalg.norm(queries - reconstructions, axis=1)
        return distances
