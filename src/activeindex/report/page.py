"""The report: one self-contained HTML file, and its tables as CSV and LaTeX."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from activeindex import __version__
from activeindex.evaluation.published import CITATION, COLLECTION
from activeindex.evaluation.tables import RecallTable, copies_found
from activeindex.report import tables
from activeindex.report.failures import Failures, failures_csv
from activeindex.report.figures import images, queries
from activeindex.report.figures.figure import Figure
from activeindex.report.gallery import AMPLIFIED, make_gallery
from activeindex.report.pictures import Pictures
from activeindex.report.provenance import command_of, latency_of, settings_of
from activeindex.report.runs import ReportedRun, read_runs
from activeindex.runtime.files import write_text
from activeindex.runtime.reporting import SILENT, Progress, Reporter

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class ReportOptions:
    """Contents of a report.

    Attributes:
        title: Its heading.
        data_dir: The originals, where the runs do not note them or they have been moved.
        references_dir: The reference images likewise.
        gallery: Number of activated images at 1:1, the worst PSNR first.
        failures: Number of missed queries of each run.
        gallery_bytes: Bytes that the images at 1:1 may take in the page.
    """

    title: str = "Active image indexing"
    data_dir: Path | None = None
    references_dir: Path | None = None
    gallery: int = 12
    failures: int = 12
    gallery_bytes: int = 9_000_000


def write_report(
    runs: Mapping[str, Path],
    output_dir: Path,
    options: ReportOptions | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Write the report of some runs.

    Args:
        runs: The folder of each run by its name.
        output_dir: Gets ``report.html``, ``recall.csv``, ``recall.tex`` and the other tables.
        options: Contents of the report.
        reporter: Shows the progress.

    Returns:
        The page.

    Raises:
        InputError: If a folder is not that of a run, or a file in it is malformed.
        OutputError: If a file cannot be written.
    """
    options = options or ReportOptions()
    with reporter.stage("report", len(FIGURES) + 3) as progress:
        return _write_report(runs, output_dir, options, progress)


def _write_report(
    runs: Mapping[str, Path], output_dir: Path, options: ReportOptions, progress: Progress
) -> Path:
    opened = read_runs(dict(runs))
    pictures = [Pictures(run, options.data_dir, options.references_dir) for run in opened]
    failures = [Failures(source) for source in pictures]
    table = tables.recall_table(opened)
    recall = {r.name: RecallTable.from_columns(r.retrieval.columns) for r in opened if r.retrieval}
    figures = {}
    for section, makers in FIGURES.items():
        figures[section] = [make(opened) for make in makers]
        progress.advance()
    shown = {
        found.run.name: [found.show(miss) for miss in found.chosen(options.failures)]
        for found in failures
    }
    progress.advance()
    gallery = make_gallery(pictures, options.gallery, options.gallery_bytes)
    progress.advance()
    page = _template().render(
        title=options.title,
        version=__version__,
        runs=opened,
        found=copies_found(recall) if recall else None,
        recall=table,
        figures=figures,
        gallery=gallery,
        amplified=AMPLIFIED,
        failures=shown,
        misses={found.run.name: len(found.misses) for found in failures},
        queries={r.name: len(r.retrieval.columns.rank) if r.retrieval else 0 for r in opened},
        missing=list(dict.fromkeys(line for source in pictures for line in source.missing)),
        settings=settings_of(opened),
        commands=[(run, command_of(run)) for run in opened],
        latencies=[found for run in opened if (found := latency_of(run))],
        published=list(dict.fromkeys(run.published.index for run in opened if run.published)),
        citation=CITATION,
        collection=COLLECTION,
        style=Markup(_resource("style.css")),
        script=Markup(_resource("slider.js")),
    )
    path = output_dir / REPORT_FILE
    caption = f"{options.title}: R@1 per edit."
    for name, text in (
        ("recall.csv", tables.recall_csv(opened)),
        ("detection.csv", tables.detection_csv(opened)),
        ("distortion.csv", tables.distortion_csv(opened)),
        ("times.csv", tables.times_csv(opened)),
        ("failures.csv", failures_csv(failures)),
        ("recall.tex", tables.recall_latex(table, caption) if table else ""),
        (REPORT_FILE, page),
    ):
        if text.count("\n") > 1:  # more than a header
            write_text(output_dir / name, text)
    progress.advance()
    return path


FIGURES: dict[str, tuple[Callable[[Sequence[ReportedRun]], Figure], ...]] = {
    "recall": (
        queries.recall_figure,
        queries.rank_figure,
        images.trade_off_figure,
        images.quality_figure,
        queries.precision_recall_figure,
        queries.parameter_figure,
    ),
    "index": (queries.cell_figure, queries.distance_figure),
    "distortion": (images.distortion_figure,),
    "times": (images.time_figure,),
}
"""The figures of each section of the page."""


@cache
def _template() -> Any:
    """The page's template, which escapes everything put into it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["share"] = _share
    environment.filters["distance"] = _distance
    return environment.from_string(_resource("report.html.j2"))


def _resource(name: str) -> str:
    return (files("activeindex.report") / "templates" / name).read_text(encoding="utf-8")


def _share(value: float | None) -> str:
    """A share in the style of the paper's tables: ``.75``, and ``1`` for all."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.2f}"
    return {"1.00": "1", "0.00": "0"}.get(text, text.removeprefix("0"))


def _distance(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"
