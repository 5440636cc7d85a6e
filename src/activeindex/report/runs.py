"""The runs of a report, read once from their folders' CSV and JSON-lines files."""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from activeindex.activation.records import RECORDS_FILE, read_records
from activeindex.errors import InputError
from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import ScoredPairs
from activeindex.evaluation.csv_files import RetrievalColumns, read_retrieval
from activeindex.evaluation.published import Arm, PublishedRun, matching_published
from activeindex.evaluation.query_records import PLACES_FILE, QueryRecord, read_places
from activeindex.evaluation.retrieval import EditKey, RetrievalResult, attack_name
from activeindex.experiment.folder import RETRIEVAL_FILE, RunFolder
from activeindex.experiment.times import TIMES_FILE
from activeindex.runtime.files import read_json_lines

Values = NDArray[np.float64]
EUCLIDEAN = "Euclidean distance"


@dataclass(frozen=True)
class Miss:
    """A query whose original did not come first.

    Attributes:
        edit: What was done to the image.
        image_index: The original's id.
        rank: Of the original, counted from 0; the number of neighbours if it was not returned.
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
    """What a ``retr_df.csv`` holds, in one pass.

    Attributes:
        columns: Edit, image and rank of every query.
        hits: Which image was found first under which edit.
        misses: The queries whose original did not come first.
        true_distances: ``(queries,)``: of the originals, in the index's metric; nan if missed.
    """

    columns: RetrievalColumns
    hits: HitTable
    misses: tuple[Miss, ...]
    true_distances: Values

    @classmethod
    def read(cls, path: Path, first_id: int) -> Self:
        """Reads the file.

        Raises:
            InputError: If it is malformed or holds no row.
        """
        misses: list[Miss] = []
        distances: list[float] = []

        def noting(row: RetrievalResult) -> RetrievalResult:
            found = row.rank < row.neighbours
            true = float(row.retrieved_distances[row.rank]) if found else math.nan
            distances.append(true)
            if row.rank > 0 or not found:
                nothing = row.neighbours == 0
                misses.append(
                    Miss(
                        (attack_name(row.attack), row.attack_param),
                        row.image_index,
                        row.rank,
                        -1 if nothing else int(row.retrieved_indices[0]),
                        math.nan if nothing else float(row.retrieved_distances[0]),
                        true,
                    )
                )
            return row

        columns = RetrievalColumns.from_rows(map(noting, read_retrieval(path)))
        if not columns.edits:
            raise InputError(f"{path}: expected at least one row, found none")
        return cls(
            columns,
            HitTable.from_columns(columns, first_id),
            tuple(misses),
            np.array(distances),
        )


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report.

    Attributes:
        name: What the report calls it.
        place: Its place among the runs, which gives its colour.
        folder: Its files.
    """

    name: str
    place: int
    folder: RunFolder

    @cached_property
    def retrieval(self) -> Retrieval | None:
        """Of ``retr_df.csv``; None without one."""
        if not self.folder.has_retrieval:
            return None
        return Retrieval.read(self.folder.path / RETRIEVAL_FILE, self.folder.references or 0)

    @cached_property
    def detection(self) -> ScoredPairs | None:
        """Of ``icd_df.csv``; None without one."""
        return self.folder.ranked_pairs() if self.folder.has_detection else None

    @cached_property
    def places(self) -> tuple[QueryRecord, ...]:
        """Of ``queries.csv``; empty without one."""
        path = self.folder.path / PLACES_FILE
        return tuple(read_places(path)) if path.exists() else ()

    @cached_property
    def records(self) -> tuple[dict[str, Any], ...]:
        """Of ``activation.jsonl``, by the images' numbers; empty in a passive run.

        Raises:
            InputError: If a line is no record of an activated image.
        """
        path = self.folder.path / RECORDS_FILE
        if not path.exists():
            return ()
        records = []
        for line, record in enumerate(read_records(path), start=1):
            if not all(isinstance(record.get(key), int | float) for key in RECORDED):
                raise InputError(f"{path}, line {line}: expected a record of an activated image")
            records.append(record)
        return tuple(sorted(records, key=lambda record: int(record["image"])))

    def recorded(self, key: str) -> Values:
        """A figure of every activated image, e.g. ``psnr``."""
        return np.array([record[key] for record in self.records], dtype=np.float64)

    @cached_property
    def times(self) -> tuple[dict[str, Any], ...]:
        """The lines of ``times.jsonl``; empty without one.

        Raises:
            InputError: If a line is not a JSON object.
        """
        path = self.folder.path / TIMES_FILE
        if not path.exists():
            return ()
        return tuple(read_json_lines(path, "a line about times"))

    @cached_property
    def stages(self) -> dict[str, tuple[float, int]]:
        """Seconds and items of every stage, in order of first appearance."""
        found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in self.times:
            if "stage" in line:
                total = found[str(line["stage"])]
                total[0] += float(line.get("seconds", 0.0))
                total[1] += float(line.get("items", 0))
        return {name: (seconds, int(items)) for name, (seconds, items) in found.items()}

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What was noted at each start of the run."""
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
        """What the returned distances are once :meth:`shown_distance` has brought them there."""
        if "LSH" in str(self.folder.setting("index", "idx_factory")):
            return "Hamming distance"
        return "inner product" if self.folder.metric == "IP" else EUCLIDEAN

    def shown_distance(self, value: float) -> float:
        """A returned distance as people read it: Euclidean instead of FAISS's squared one."""
        return math.sqrt(max(value, 0.0)) if self.distance_kind == EUCLIDEAN else value


RECORDED = ("image", "psnr", "ssim", "linf", "distance_before", "distance_after")
"""What a record must have to be shown."""


def read_runs(folders: dict[str, Path]) -> list[ReportedRun]:
    """Opens the folders of runs.

    Raises:
        InputError: If one is not the folder of a run.
    """
    return [
        ReportedRun(name, place, RunFolder.open(path))
        for place, (name, path) in enumerate(folders.items())
    ]
