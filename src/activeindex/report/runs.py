"""Runs of a report, read once from the CSV and JSON-lines files of their folders."""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from activeindex.activation.records import RECORDS_FILE
from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import ScoredPairs
from activeindex.evaluation.csv_files import (
    PLACES_FILE,
    QueryRecord,
    RetrievalColumns,
    read_places,
    read_retrieval,
)
from activeindex.evaluation.published import Arm, PublishedRun, matching_published
from activeindex.evaluation.retrieval import EditKey, RetrievalResult, attack_name
from activeindex.evaluation.statistics import Values
from activeindex.experiment.folder import RETRIEVAL_FILE, RunFolder, read_distortions
from activeindex.experiment.times import TIMES_FILE
from activeindex.runtime.files import Types, check_types, read_json_lines

EUCLIDEAN = "Euclidean distance"


_TIMES: Types = {
    **{"stage": str, "seconds": int | float, "items": int},
    **{"start": str, "command": str | None, "threads": dict},
}


@dataclass(frozen=True)
class Miss:
    """A query whose original did not come first.

    Attributes:
        edit: The edit of the image.
        image_index: The original's id.
        rank: Rank of the original, counted from 0; the number of neighbours if it is not returned.
        returned: The id that came first; -1 if nothing came.
        returned_distance: Its distance in the index's metric.
        true_distance: That of the original, nan if it was not returned.
    """

    edit: EditKey
    image_index: int
    rank: int
    returned: int
    returned_distance: float
    true_distance: float


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Contents of a ``retr_df.csv``, read in one pass.

    Attributes:
        columns: Edit, image and rank of every query.
        hits: Hits at rank 1 by edit and image.
        misses: The queries whose original did not come first.
        true_distances: ``(queries,)``: of the originals, in the index's metric; nan if missed.
    """

    columns: RetrievalColumns
    hits: HitTable
    misses: tuple[Miss, ...]
    true_distances: Values

    @classmethod
    def read(cls, path: Path, first_id: int) -> Self:
        """Read the file.

        Raises:
            InputError: If it is malformed or holds no row.
        """
        misses: list[Miss] = []
        distances: list[float] = []

        def noting(row: RetrievalResult) -> RetrievalResult:
            found = row.rank < row.neighbours
            true = float(row.retrieved_distances[row.rank]) if found else math.nan
            distances.append(true)
            if not row.recall_at(1):
                edit = attack_name(row.attack), row.attack_param
                first = -1, math.nan
                if row.neighbours:
                    first = int(row.retrieved_indices[0]), float(row.retrieved_distances[0])
                misses.append(Miss(edit, row.image_index, row.rank, *first, true))
            return row

        columns = RetrievalColumns.from_rows(map(noting, read_retrieval(path)), path)
        hits = HitTable.from_columns(columns, first_id)
        return cls(columns, hits, tuple(misses), np.array(distances))


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report.

    Attributes:
        name: Its name in the report.
        place: Its place among the runs, which gives its colour.
        folder: Its files.
    """

    name: str
    place: int
    folder: RunFolder

    @cached_property
    def retrieval(self) -> Retrieval | None:
        """The queries of ``retr_df.csv``; None without one."""
        if not self.folder.has_retrieval:
            return None
        return Retrieval.read(self.folder.path / RETRIEVAL_FILE, self.folder.references or 0)

    @cached_property
    def detection(self) -> ScoredPairs | None:
        """The scored pairs of ``icd_df.csv``; None without one."""
        return self.folder.ranked_pairs() if self.folder.has_detection else None

    @cached_property
    def places(self) -> tuple[QueryRecord, ...]:
        """The rows of ``queries.csv``; empty without one."""
        path = self.folder.path / PLACES_FILE
        return tuple(read_places(path)) if path.exists() else ()

    @cached_property
    def records(self) -> tuple[dict[str, Any], ...]:
        """The records of ``activation.jsonl`` by number; empty in a passive run.

        Raises:
            InputError: If a line is not a record of an activated image.
        """
        path = self.folder.path / RECORDS_FILE
        records = read_distortions(path) if path.exists() else []
        return tuple(sorted(records, key=lambda record: int(record["image"])))

    def recorded(self, key: str) -> Values:
        """A figure of every activated image, e.g. ``psnr``."""
        return np.array([record[key] for record in self.records], dtype=np.float64)

    @cached_property
    def times(self) -> tuple[dict[str, Any], ...]:
        """The lines of ``times.jsonl``; empty without one.

        Raises:
            InputError: If a line is not a JSON object, or has values of other types.
        """
        path = self.folder.path / TIMES_FILE
        if not path.exists():
            return ()
        lines = tuple(read_json_lines(path, "a line about times"))
        for line in lines:
            check_types(str(path), line, _TIMES)
        return lines

    @cached_property
    def stages(self) -> dict[str, tuple[float, int]]:
        """Seconds and items of every stage, in order of first appearance."""
        found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in self.times:
            if "stage" in line:
                total = found[str(line["stage"])]
                total[0] += line.get("seconds", 0.0)
                total[1] += line.get("items", 0)
        return {name: (seconds, int(items)) for name, (seconds, items) in found.items()}

    @property
    def starts(self) -> list[dict[str, Any]]:
        """The notes of each start of the run."""
        return [line for line in self.times if "start" in line]

    @property
    def arm(self) -> Arm | None:
        """Passive or active; None where that is not noted."""
        active = self.folder.setting("active")
        if active is None:
            return "active" if self.records else None
        return "active" if active else "passive"

    @property
    def published(self) -> PublishedRun | None:
        """The published line of the same index and extractor."""
        if self.arm is None:
            return None
        index = [self.folder.setting("index", key) for key in ("idx_factory", "nprobe")]
        return matching_published(index[0], self.folder.extractor, index[1], self.arm)

    @property
    def distance_kind(self) -> str:
        """The kind of distance that :meth:`shown_distance` gives."""
        if "LSH" in str(self.folder.setting("index", "idx_factory")):
            return "Hamming distance"
        return "inner product" if self.folder.metric == "IP" else EUCLIDEAN

    def shown_distance(self, value: float) -> float:
        """A returned distance for people: Euclidean instead of FAISS's squared one."""
        return math.sqrt(max(value, 0.0)) if self.distance_kind == EUCLIDEAN else value


def read_runs(folders: dict[str, Path]) -> list[ReportedRun]:
    """Open the folders of runs.

    Raises:
        InputError: If one is not the folder of a run.
    """
    return [
        ReportedRun(name, place, RunFolder.open(path))
        for place, (name, path) in enumerate(folders.items())
    ]
