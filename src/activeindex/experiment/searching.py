"""Search for queries: the neighbours that the index returns, and each query's position."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.evaluation.copy_detection import NO_MATCH
from activeindex.evaluation.query_records import QueryRecord, Test
from activeindex.experiment.cell_retention import Originals, QueryOffset
from activeindex.experiment.queries import Query
from activeindex.experiment.times import StageTimes, Stopwatch
from activeindex.indexing.search import search


@dataclass(frozen=True, eq=False)
class Found:
    """Result of the search for one query.

    Attributes:
        query: The edited image.
        distances: ``(k,)``, best first.
        ids: ``(k,)``, -1 where nothing was found.
        offset: The query's position in the index.
    """

    query: Query
    distances: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    offset: QueryOffset

    def place(self, test: Test, image_index: int, label: str) -> QueryRecord:
        """The row of ``queries.csv``."""
        kept, distance, other = self.offset
        parameter = self.query.edit.parameter
        if image_index == NO_MATCH:
            return QueryRecord(test, image_index, label, parameter, None, None, other)
        return QueryRecord(test, image_index, label, parameter, kept, distance, other)


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
    times: StageTimes | Stopwatch

    def find(self, queries: Sequence[Query]) -> Iterator[Found]:
        """Yield the result of each query, in order."""
        for first in range(0, len(queries), self.batch_size):
            part = queries[first : first + self.batch_size]
            features = np.stack([query.feature for query in part])
            with self.times.stage("search", len(part)):
                found = search(self.index, features, self.kneighbors)
            offsets = self.originals.offsets(features, np.array([query.number for query in part]))
            yield from map(Found, part, found.distances, found.ids, offsets)
