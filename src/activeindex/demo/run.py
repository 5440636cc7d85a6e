"""The demo: photographs registered, their copies found, a contact sheet and a report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activeindex.demo.photographs import write_protected, write_references
from activeindex.experiment.evaluate import evaluate
from activeindex.experiment.folder import RUN_FILE, RunSummary
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import extract_folder
from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import write_png
from activeindex.images.folder import list_images
from activeindex.report.contact_sheet import contact_sheet
from activeindex.report.page import ReportOptions, write_report
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Reporter
from activeindex.stores.register import DESCRIPTOR_VIEWS, register
from activeindex.stores.store import Store

_REFERENCES = 800
_SEED = 0


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        passive: Recall of untouched photographs.
        active: Recall of registered photographs.
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
    """Register photographs that ship in packages, and look for edited copies of them.

    Args:
        output_dir: Gets the images, the store, the features and both runs.
        extractor: The extractor of the package.
        workers: Who computes.
        reporter: Gets the stages.
        command: The command line, for the runs' notes.

    Raises:
        MissingExtraError: If the packages with the photographs are not installed.
    """
    photographs, references = output_dir / "photographs", output_dir / "references"
    released, store = output_dir / "released", output_dir / "store"
    write_protected(photographs)
    with reporter.stage("reference images", _REFERENCES) as progress:
        write_references(references, _REFERENCES, _SEED, progress)
    fts, title = output_dir / "fts", "reference features"
    extract_folder(extractor, references, fts, workers=workers, reporter=reporter, title=title)
    register(photographs, store, released, extractor=extractor, workers=workers, reporter=reporter)
    with Store(store) as opened:
        opened.add(fts)
    arms = {"passive": (photographs, 0), "active": (released, DESCRIPTOR_VIEWS)}
    for arm, (pictures, views) in arms.items():
        if not (output_dir / arm / RUN_FILE).exists():
            evaluate(
                photographs,
                pictures,
                extractor=extractor,
                references=fts,
                descriptor_views=views,
                output_dir=output_dir / arm,
                workers=workers,
                reporter=reporter,
                command=command,
            )
    pairs = zip(list_images(photographs), list_images(released), strict=True)
    rows = [
        (original.stem, np.asarray(read_rgb(original)), np.asarray(read_rgb(activated)))
        for original, activated in pairs
    ]
    sheet = output_dir / "contact_sheet.png"
    write_png(sheet, np.asarray(contact_sheet(rows)))
    report = write_report(
        {arm: output_dir / arm for arm in arms},
        output_dir / "report",
        ReportOptions("The demo: twelve photographs"),
        reporter,
    )
    passive, active = (RunSummary.read(output_dir / arm) for arm in arms)
    return DemoResult(passive, active, sheet, report)
