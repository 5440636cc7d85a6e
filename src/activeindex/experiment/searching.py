"""From queries to what the index returns, and where each query landed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.evaluation.copy_detection import NO_MATCH
from activeindex.evaluation.query_records import QueryRecord, Test
from activeindex.experiment.cell_retention import Originals
from activeindex.experiment.queries import Query
from activeindex.experiment.times import StageTimes, Stopwatch
from activeindex.indexing.search import search


@dataclass(frozen=True, eq=False)
class Found:
    """What the search for one query returned, and where the query landed.

    Attributes:
        query: The edited image.
        distances: ``(k,)``, best first.
        ids: ``(k,)``, -1 where nothing was found.
        cell_kept: As in a ``QueryRecord``.
        distance: To the reconstruction of the original's code.
        other_distance: To that of another image's code.
    """

    query: Query
    distances: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    cell_kept: bool | None
    distance: float
    other_distance: float | None

    def place(self, test: Test, image_index: int, label: str) -> QueryRecord:
        """The row of ``queries.csv``."""
        matching = image_index != NO_MATCH
        return QueryRecord(
            test,
            image_index,
            label,
            self.query.edit.parameter,
            self.cell_kept if matching else None,
            self.distance if matching else None,
            self.other_distance,
        )


@dataclass(frozen=True)
class Searcher:
    """Searches.

    Attributes:
        index: What is searched.
        originals: What queries are held against.
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
        """Yields what is found for each query, in order."""
        for first in range(0, len(queries), self.batch_size):
            part = queries[first : first + self.batch_size]
            features = np.stack([query.feature for query in part])
            with self.times.stage("search", len(part)):
                found = search(self.index, features, self.kneighbors)
            landed = self.originals.landings(features, np.array([query.number for query in part]))
            columns: list[Sequence[Any]] = [
                [None] * len(part) if values is None else values.tolist()
                for values in (landed.kept, landed.distances, landed.other_distances)
            ]
            rows = zip(part, found.distances, found.ids, *columns, strict=True)
            yield from (Found(*row) for row in rows)
