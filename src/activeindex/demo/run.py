"""The demo: both arms on photographs, a contact sheet and a report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activeindex.demo.photographs import write_protected, write_references
from activeindex.experiment.folder import RunSummary
from activeindex.experiment.run import run_experiment
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import extract_folder
from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import write_png
from activeindex.images.folder import list_images
from activeindex.report.contact_sheet import contact_sheet
from activeindex.report.page import ReportOptions, write_report
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Reporter

_REFERENCES = 1200
_IDX_FACTORY = "IVF32,PQ8x8np"
_SEED = 0
_BATCH = 2  # Photographs released together: twelve keep six cores busy.


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        passive: The run with untouched photographs.
        active: The run with activated photographs.
        sheet: The contact sheet, a PNG file.
        report: The report of both, an HTML file.
    """

    passive: RunSummary
    active: RunSummary
    sheet: Path
    report: Path


def run_demo(
    output_dir: Path,
    extractor: Extractor,
    workers: Engine,
    reporter: Reporter,
    command: str | None = None,
) -> DemoResult:
    """Run both arms on the photographs that ship in packages.

    Args:
        output_dir: Gets the images, the features, the index and both runs.
        extractor: Maps images to features.
        workers: Who computes.
        reporter: Gets the stages.
        command: The command line, for the runs' notes.

    Raises:
        MissingExtraError: If the packages with the photographs are not installed.
    """
    photographs, references = output_dir / "photographs", output_dir / "references"
    write_protected(photographs)
    with reporter.stage("reference images", _REFERENCES) as progress:
        write_references(references, _REFERENCES, _SEED, progress)
    fts, title = output_dir / "fts", "reference features"
    features = extract_folder(
        extractor, references, fts, workers=workers, reporter=reporter, title=title
    ).features
    passive, active = (
        run_experiment(
            ExperimentSettings(
                data_dir=photographs,
                output_dir=output_dir / arm,
                batch_size=_BATCH,
                index=IndexSettings(
                    fts_training_path=features,
                    fts_reference_path=features,
                    idx_factory=_IDX_FACTORY,
                    idx_dir=output_dir / "indexes",
                ),
                evaluation=EvaluationSettings(eval_icd=False),
                active=arm == "active",
            ),
            extractor,
            workers=workers,
            reporter=reporter,
            command=command,
        )
        for arm in ("passive", "active")
    )
    originals, released = list_images(photographs), list_images(output_dir / "active" / "imgs")
    rows = [
        (original.stem, np.asarray(read_rgb(original)), np.asarray(read_rgb(activated)))
        for original, activated in zip(originals, released, strict=True)
    ]
    sheet = output_dir / "contact_sheet.png"
    write_png(sheet, np.asarray(contact_sheet(rows)))
    report = write_report(
        {arm: output_dir / arm for arm in ("passive", "active")},
        output_dir / "report",
        ReportOptions("The demo: twelve photographs"),
        reporter,
    )
    return DemoResult(passive, active, sheet, report)
