"""From images and edits to what the index returns, and where each query landed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.evaluation import NO_MATCH, QueryPlace
from activeindex.evaluation.query_places import Test
from activeindex.experiment.places import Originals
from activeindex.experiment.queries import Query, QueryTask, make_queries
from activeindex.experiment.times import StageTimes
from activeindex.extractors import Extractor
from activeindex.indexing import search
from activeindex.running.workers import Workers


@dataclass(frozen=True, eq=False)
class Found:
    """What the search for one query returned, and where the query landed.

    Attributes:
        task: The image and the edit.
        query: The edited image.
        distances: ``(k,)``, best first.
        ids: ``(k,)``, -1 where nothing was found.
        cell_kept: As in a ``QueryPlace``.
        distance: To the reconstruction of the original's code.
        other_distance: To that of another image's code.
    """

    task: QueryTask
    query: Query
    distances: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    cell_kept: bool | None
    distance: float
    other_distance: float | None

    def place(self, test: Test, image_index: int, label: str) -> QueryPlace:
        """The row of ``queries.csv``."""
        matching = image_index != NO_MATCH
        return QueryPlace(
            test,
            image_index,
            label,
            self.task.edit.parameter,
            self.cell_kept if matching else None,
            self.distance if matching else None,
            self.other_distance,
        )


@dataclass(frozen=True)
class Searcher:
    """Edits, extracts and searches.

    Attributes:
        index: What is searched.
        originals: What queries are held against.
        extractor: Maps queries to features.
        kneighbors: Neighbours per query.
        batch_size: Queries that go through the extractor and the index together.
        seed: Of random edits.
        workers: Processes that edit.
        times: Measures both stages.
    """

    index: faiss.Index
    originals: Originals
    extractor: Extractor
    kneighbors: int
    batch_size: int
    seed: int
    workers: Workers
    times: StageTimes

    def find(self, tasks: Sequence[QueryTask]) -> Iterator[Found]:
        """Yields what is found for each task, in order.

        Raises:
            ActiveIndexError: If an image cannot be read, or an edit lacks its files.
        """
        batches = make_queries(tasks, self.extractor, self.batch_size, self.seed, self.workers)
        for first in range(0, len(tasks), self.batch_size):
            part = tasks[first : first + self.batch_size]
            with self.times.stage("edit and extract", len(part)):
                queries = next(batches)
            features = np.stack([query.feature for query in queries])
            with self.times.stage("search", len(part)):
                found = search(self.index, features, self.kneighbors)
            landed = self.originals.landings(features, np.array([task.number for task in part]))
            columns: list[Sequence[Any]] = [
                [None] * len(part) if values is None else values.tolist()
                for values in (landed.kept, landed.distances, landed.other_distances)
            ]
            rows = zip(part, queries, found.distances, found.ids, *columns, strict=True)
            yield from (Found(*row) for row in rows)
