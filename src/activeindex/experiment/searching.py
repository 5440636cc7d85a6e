"""Search for queries: neighbours in the index, and positions against the codes of the originals.

A copy is found when its feature falls into the inverted list of its original and near the
reconstruction of its original's code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.activation.objective import choose_targets
from activeindex.evaluation.copy_detection import NO_MATCH, DetectionResult
from activeindex.evaluation.csv_files import QueryRecord, Test
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.experiment.queries import Query
from activeindex.experiment.times import Stopwatch
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.search import search
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.reporting import counted

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Originals:
    """The originals of a set, as the index stores them.

    Attributes:
        features: ``(N, d)``, in the order of their numbers.
        quantiser: The index's quantiser.
        first_id: Id of the first original in the index.
    """

    features: Features
    quantiser: Quantiser
    first_id: int

    @cached_property
    def cells(self) -> Numbers | None:
        """Coarse cells ``(N,)``; None for an index without inverted lists."""
        return self.quantiser.coarse_cells(self.features)

    def distances(self, queries: Features, numbers: Numbers) -> npt.NDArray[np.float32]:
        """Euclidean distances ``(n,)`` of queries to the reconstructions of originals."""
        originals = np.ascontiguousarray(self.features[numbers])
        reconstructions = choose_targets("pq_recons", originals, self.quantiser)
        distances: npt.NDArray[np.float32] = np.linalg.norm(queries - reconstructions, axis=1)
        return distances


def repeated_images(references: Features, originals: Features) -> str | None:
    """Say how many originals are among the references, too, as the end of a warning.

    Args:
        references: ``(R, d)``.
        originals: ``(N, d)``.

    Returns:
        None if no feature is in both, to the last bit.
    """
    alike = np.isin(references[:, 0], originals[:, 0])
    known = {row.tobytes() for row in np.ascontiguousarray(references[alike], np.float32)}
    count = sum(row.tobytes() in known for row in np.ascontiguousarray(originals, np.float32))
    if not count:
        return None
    return (
        f"{count} of the {counted(len(originals), 'original')}, too; a search finds those copies "
        "first, which count as misses (R@1 is 0)"
    )


@dataclass(frozen=True)
class Searcher:
    """Search for queries, in batches.

    Attributes:
        index: The index, filled.
        originals: The originals that queries are compared with.
        kneighbors: Neighbours per query.
        batch_size: Queries that go through the index together.
        times: Measures the stage.
    """

    index: faiss.Index
    originals: Originals
    kneighbors: int
    batch_size: int
    times: Stopwatch

    def find(
        self, queries: Sequence[Query], test: Test, batch: int, *, matching: bool = True
    ) -> Iterator[tuple[RetrievalResult | DetectionResult, QueryRecord]]:
        """Yield the result of each query, in order, and its position in the index.

        Args:
            queries: The queries. Their numbers from N on are of images that are not in the set. The
                *other* image that a query is compared with is the one after its own, cyclically, so
                that it depends on the number alone.
            test: The test that they belong to.
            batch: Number of the batch, for the results.
            matching: False for queries without an original in the index.
        """
        originals, count = self.originals, len(self.originals.features)
        for part in batches_of(queries, self.batch_size):
            features = np.stack([query.feature for query in part])
            with self.times.stage("search", len(part)):
                found = search(self.index, features, self.kneighbors)
            numbers = np.array([query.number for query in part])
            own, other = numbers % count, (numbers + 1) % count
            nothing: list[None] = [None] * len(part)
            kept, distances, others = nothing, nothing, nothing
            if matching:
                cells = self.originals.quantiser.coarse_cells(features)
                if cells is not None and originals.cells is not None:
                    kept = (cells == originals.cells[own]).tolist()
                distances = originals.distances(features, own).tolist()
            if count > 1:
                others = originals.distances(features, other).tolist()
            columns = (part, found.distances, found.ids, kept, distances, others)
            for query, near, ids, *position in zip(*columns, strict=True):
                image = originals.first_id + query.number if matching else NO_MATCH
                label, parameter = query.label, query.edit.parameter
                row: RetrievalResult | DetectionResult
                if test == "retrieval":
                    row = RetrievalResult.from_search(batch, image, label, parameter, near, ids)
                else:
                    label = query.full_label
                    row = DetectionResult.from_search(batch, image, label, near, ids)
                yield row, QueryRecord(test, image, label, parameter, *position)
