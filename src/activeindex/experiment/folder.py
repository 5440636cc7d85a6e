"""The output folder of a run, of this program or of the released one: its files and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from activeindex.activation.records import (
    RECORDS_FILE,
    is_unchanged,
    read_records,
    was_only_encoded,
)
from activeindex.errors import InputError
from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import (
    PrecisionRecallCurve,
    ScoredPairs,
    precision_recall,
)
from activeindex.evaluation.csv_files import RetrievalColumns, read_detection
from activeindex.evaluation.rendering import detection_comparison, plain_text, recall_text
from activeindex.evaluation.tables import MEASURES, DetectionSummary, Measure, RecallTable
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import read_json
from activeindex.runtime.reporting import counted

if TYPE_CHECKING:
    from activeindex.indexing.training import Metric

RETRIEVAL_FILE = "retr_df.csv"
DETECTION_FILE = "icd_df.csv"
RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        path: The folder.
        notes: The contents of ``run.json``, empty for a run of another program.
    """

    path: Path
    notes: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a folder.

        Raises:
            InputError: If there are neither results nor notes, or ``run.json`` is malformed.
        """
        path = Path(path)
        # A run that only released its images has notes alone.
        known = (RETRIEVAL_FILE, DETECTION_FILE, RUN_FILE)
        if not any((path / file).exists() for file in known):
            raise InputError(
                f"{path}: expected the results of a run ({RETRIEVAL_FILE} or {DETECTION_FILE}), or "
                f"its notes ({RUN_FILE}), found none"
            )
        notes = path / RUN_FILE
        return cls(path, read_json(notes, {"settings": dict}) if notes.exists() else {})

    @property
    def has_retrieval(self) -> bool:
        """True if there is a ``retr_df.csv``."""
        return (self.path / RETRIEVAL_FILE).exists()

    @property
    def has_detection(self) -> bool:
        """True if there is an ``icd_df.csv``."""
        return (self.path / DETECTION_FILE).exists()

    def setting(self, *names: str) -> Any:
        """A setting by its path, e.g. ``("index", "quant")``; None if it is not noted."""
        value: Any = self.notes.get("settings")
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def extractor(self) -> ExtractorIdentity | None:
        """The extractor that was used; None if it is not noted."""
        return ExtractorIdentity.from_json(self.notes.get("extractor"), where=self.path / RUN_FILE)

    @property
    def metric(self) -> "Metric":
        """The metric of the index; L2, the default, if it is not noted."""
        return "IP" if self.setting("index", "quant") == "IP" else "L2"

    @property
    def references(self) -> int | None:
        """Number of references, the id of the first original; None if it is not noted."""
        count = self.notes.get("references")
        return count if isinstance(count, int) else None

    def hit_table(self) -> HitTable:
        """Hits at rank 1 of ``retr_df.csv``, by edit and by number of the image in the set.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        columns = RetrievalColumns.read(self.path / RETRIEVAL_FILE)
        return HitTable.from_columns(columns, self.references or 0)

    def ranked_pairs(self) -> ScoredPairs:
        """The scored pairs of ``icd_df.csv``.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        path = self.path / DETECTION_FILE
        pairs = ScoredPairs.from_rows(read_detection(path), self.metric, self.references or 0)
        if not len(pairs.originals):
            raise InputError(f"{path}: expected at least one row, found none")
        return pairs

    def precision_recall(self) -> PrecisionRecallCurve:
        """Precision and recall of copy detection, of ``icd_df.csv``.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        return precision_recall(self.ranked_pairs())


_FIGURES = ("image", "psnr", "ssim", "linf", "distance_before", "distance_after")


def read_distortions(path: Path) -> list[dict[str, Any]]:
    """Read the records of an ``activation.jsonl``, and check that they have their figures.

    Raises:
        InputError: If a line is not a record of an activated image.
    """
    records = list(read_records(path))
    for number, record in enumerate(records, start=1):
        if not all(isinstance(record.get(key), int | float) for key in _FIGURES):
            raise InputError(f"{path}, line {number}: expected a record of an activated image")
    return records


@dataclass(frozen=True)
class Distortion:
    """Distortion of the images of a run, and its effect on their features.

    Attributes:
        psnr: Mean and standard deviation in dB, over the images that were changed at all.
        ssim: Mean and standard deviation.
        linf: Mean and standard deviation in 8-bit levels.
        distance_before: Mean distance of the originals' features to their targets.
        distance_after: Mean distance of the released images' features to the same targets.
        only_encoded: Images that were not activated, since their format alone breaks the budget.
        unchanged: Images of which the budget left every pixel as it was.
    """

    psnr: tuple[float, float]
    ssim: tuple[float, float]
    linf: tuple[float, float]
    distance_before: float
    distance_after: float
    only_encoded: int
    unchanged: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Average the records of an ``activation.jsonl``.

        Raises:
            InputError: If a line is not such a record, or there is none.
        """
        records = read_distortions(path)
        if not records:
            raise InputError(f"{path}: expected records of activated images, found none")
        # An image of several indexes has the distances of each.
        aims = [aim for record in records for aim in (record, *record.get("also", []))]
        return cls(
            psnr=_mean_and_spread(r["psnr"] for r in records if np.isfinite(r["psnr"])),
            ssim=_mean_and_spread(record["ssim"] for record in records),
            linf=_mean_and_spread(record["linf"] for record in records),
            distance_before=float(np.mean([aim["distance_before"] for aim in aims])),
            distance_after=float(np.mean([aim["distance_after"] for aim in aims])),
            only_encoded=sum(map(was_only_encoded, records)),
            unchanged=sum(map(is_unchanged, records)),
        )

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr[0]:.2f} ± {self.psnr[1]:.2f} dB, "
            f"SSIM {self.ssim[0]:.3f} ± {self.ssim[1]:.3f}, "
            f"L-inf {self.linf[0]:.1f} ± {self.linf[1]:.1f}, "
            f"distance to target {self.distance_before:.3f} -> {self.distance_after:.3f}"
        )


def _mean_and_spread(figures: Iterable[float]) -> tuple[float, float]:
    values = list(figures)
    if not values:  # No image was changed.
        return float("inf"), 0.0
    return float(np.mean(values)), float(np.std(values))


@dataclass(frozen=True)
class RunSummary:
    """The tables of a run; a part that the run did not evaluate is None.

    Attributes:
        folder: The run's output folder.
        recall: Recall per edit.
        detection: Copy detection.
        distortion: Distortion by activation; None in the passive arm.
        notes: The contents of ``run.json``, empty for a run of another program.
    """

    folder: Path
    recall: RecallTable | None
    detection: DetectionSummary | None
    distortion: Distortion | None
    notes: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the files of a finished run.

        Raises:
            InputError: If the folder holds neither results file, or a file is malformed.
        """
        run = RunFolder.open(folder)
        detection, records = folder / DETECTION_FILE, folder / RECORDS_FILE
        return cls(
            folder,
            RecallTable.read(folder / RETRIEVAL_FILE) if run.has_retrieval else None,
            DetectionSummary.read(detection, run.metric) if run.has_detection else None,
            Distortion.read(records) if records.exists() else None,
            run.notes,
        )


def tables_of(runs: Mapping[str, RunSummary], measures: Sequence[Measure] = MEASURES) -> str:
    """The tables of some runs as text, at most 100 columns wide.

    Args:
        runs: Name and summary of each run.
        measures: The measures shown of several runs; of a single one, all four are shown.
    """
    parts = []
    if recall := {name: run.recall for name, run in runs.items() if run.recall}:
        parts.append(recall_text(recall, measures))
    if detection := {name: run.detection for name, run in runs.items() if run.detection}:
        parts.append(plain_text(detection_comparison(detection)))
    for name, run in runs.items():
        if run.distortion:
            left = counted(run.distortion.unchanged, "image") + " unchanged"
            more = f"; {left}" if run.distortion.unchanged else ""
            parts.append(f"{name}:\n  {run.distortion}{more}\n")
    return "\n".join(parts)
