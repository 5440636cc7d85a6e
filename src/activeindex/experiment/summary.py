"""What a run comes to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from activeindex.activation.records import (
    RECORDS_FILE,
    is_unchanged,
    read_records,
    was_only_encoded,
)
from activeindex.errors import InputError
from activeindex.evaluation.tables import DetectionSummary, RecallTable
from activeindex.experiment.folder import DETECTION_FILE, RETRIEVAL_FILE, RunFolder


@dataclass(frozen=True)
class Distortion:
    """How much the images of a run were changed, and what that did to their features.

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
        """Averages the records of an ``activation.jsonl``.

        Raises:
            InputError: If a line is not such a record.
        """
        columns: dict[str, list[float]] = {}
        only_encoded = unchanged = 0
        for number, record in enumerate(read_records(path), start=1):
            try:
                for key in ("psnr", "ssim", "linf"):
                    columns.setdefault(key, []).append(float(record[key]))
                for aim in (record, *record.get("also", [])):
                    for key in ("distance_before", "distance_after"):
                        columns.setdefault(key, []).append(float(aim[key]))
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{path}, line {number}: expected a record of an activated image"
                ) from None
            only_encoded += was_only_encoded(record)
            unchanged += is_unchanged(record)
        if not columns:
            raise InputError(f"{path}: expected records of activated images, found none")
        return cls(
            psnr=_mean_and_spread([value for value in columns["psnr"] if np.isfinite(value)]),
            ssim=_mean_and_spread(columns["ssim"]),
            linf=_mean_and_spread(columns["linf"]),
            distance_before=float(np.mean(columns["distance_before"])),
            distance_after=float(np.mean(columns["distance_after"])),
            only_encoded=only_encoded,
            unchanged=unchanged,
        )

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr[0]:.2f} ± {self.psnr[1]:.2f} dB, "
            f"SSIM {self.ssim[0]:.3f} ± {self.ssim[1]:.3f}, "
            f"L-inf {self.linf[0]:.1f} ± {self.linf[1]:.1f}, "
            f"distance to target {self.distance_before:.3f} -> {self.distance_after:.3f}"
        )


def _mean_and_spread(values: list[float]) -> tuple[float, float]:
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
        distortion: What activation did to the images; None in the passive arm.
        notes: The contents of ``run.json``, empty for a run of another program.
    """

    folder: Path
    recall: RecallTable | None
    detection: DetectionSummary | None
    distortion: Distortion | None
    notes: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the files of a finished run.

        Raises:
            InputError: If the folder holds neither results file, or a file is malformed.
        """
        run = RunFolder.open(folder)
        retrieval, detection = folder / RETRIEVAL_FILE, folder / DETECTION_FILE
        activation = folder / RECORDS_FILE
        return cls(
            folder,
            RecallTable.read(retrieval) if run.has_retrieval else None,
            DetectionSummary.read(detection, run.metric) if run.has_detection else None,
            Distortion.read(activation) if activation.exists() else None,
            run.notes,
        )
