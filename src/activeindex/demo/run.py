"""The demo: photographs registered, their copies found, a picture and a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activeindex.activation.folder import activate_folder
from activeindex.activation.settings import DESCRIPTOR_VIEWS
from activeindex.demo.photographs import write_photographs, write_references
from activeindex.demo.picture import draw_copy
from activeindex.edits.edited import edit_generator
from activeindex.edits.named import edit_by_name
from activeindex.evaluation.retrieval import EditKey
from activeindex.experiment.evaluate import evaluate
from activeindex.experiment.folder import RUN_FILE, RunFolder
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import extract_folder
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images
from activeindex.report.page import ReportOptions, write_report
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Reporter
from activeindex.stores.query import QueryResult
from activeindex.stores.register import register
from activeindex.stores.store import Store

_REFERENCES = 400
_SEED = 0
_RUNS = {"untouched": 0, "paper": 0, "registered": DESCRIPTOR_VIEWS}
"""Views whose mean feature is the code of an original, in each run."""

_SHOWN_FIRST = ("meme_format", "overlay_onto_screenshot")


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        runs: Folder of each run: ``untouched``, ``paper`` and ``registered``.
        copy: The answer of the store for one copy, an image file.
        edit: The edit that made the copy.
        picture: The photograph, activated, their difference, and the copy, an image file.
        report: The report of all runs, an HTML file.
    """

    runs: Mapping[str, Path]
    copy: QueryResult
    edit: EditKey
    picture: Path
    report: Path


def run_demo(
    output_dir: Path,
    extractor: Extractor,
    workers: Engine,
    reporter: Reporter,
    command: str | None = None,
) -> DemoResult:
    """Register photographs that ship with the package, and look for edited copies of them.

    Args:
        output_dir: Gets the images, the store, the features and the runs.
        extractor: The extractor of the package.
        workers: Who computes.
        reporter: Gets the stages.
        command: The command line, for the runs' notes.

    Raises:
        MissingExtraError: If what the edits draw with is not installed.
    """
    photographs, references = output_dir / "photographs", output_dir / "references"
    released, store, fts = (output_dir / name for name in ("released", "store", "fts"))
    write_photographs(photographs)
    with reporter.stage("reference images", _REFERENCES) as progress:
        write_references(references, _REFERENCES, _SEED, progress)
    title = "reference features"
    extract_folder(extractor, references, fts, workers=workers, reporter=reporter, title=title)
    register(photographs, store, released, extractor=extractor, workers=workers, reporter=reporter)
    with Store(store) as opened:
        opened.add(fts)
    by_paper = output_dir / "released_paper"
    activate_folder(
        photographs, by_paper, None, extractor, preset="paper", workers=workers, reporter=reporter
    )
    pictures = {"untouched": photographs, "paper": by_paper, "registered": released}
    runs = {name: output_dir / "runs" / name for name in _RUNS}
    for name, views in _RUNS.items():
        if not (runs[name] / RUN_FILE).exists():
            evaluate(
                photographs,
                pictures[name],
                extractor=extractor,
                references=fts,
                descriptor_views=views,
                output_dir=runs[name],
                workers=workers,
                reporter=reporter,
                command=command,
            )
    with Store(store) as opened:
        copy, edit, note = _newly_found(
            opened, runs, photographs, released, output_dir / "copy.png"
        )
    picture, name = output_dir / "copy_found.png", copy.matches[0].record.name
    shown = draw_copy(photographs / name, released / name, output_dir / "copy.png", edit, note)
    shown.save(picture)
    report = write_report(runs, output_dir / "report", ReportOptions("The demo"), reporter)
    return DemoResult(runs, copy, edit, picture, report)


def _newly_found(
    store: Store, runs: Mapping[str, Path], photographs: Path, released: Path, copy: Path
) -> tuple[QueryResult, EditKey, str]:
    """Write a copy that is found only because its original was registered, and search for it.

    Of such copies it is the first that the store is sure of; edits that copiers use come first.

    Returns:
        The store's answer, the edit, and in words whether the copy is found.
    """
    names = [path.name for path in list_images(photographs)]
    before, after = (RunFolder.open(runs[name]).hit_table() for name in ("untouched", "registered"))
    won = np.argwhere(after.hits > before.hits).tolist()
    note = "found (untouched: not found)" if won else "found"
    edits = sorted(
        won or np.argwhere(after.hits).tolist(),
        key=lambda place: after.edits[place[0]][0] not in _SHOWN_FIRST,
    )
    for row, number in edits:
        edit, source = after.edits[row], released / names[number]
        edit_by_name(*edit)(read_rgb(source), edit_generator(_SEED, number)).image.save(copy)
        (answer,) = store.search(copy, k=1)
        if answer.decision == "match" and answer.matches[0].record.name == names[number]:
            break
    return answer, edit, note
