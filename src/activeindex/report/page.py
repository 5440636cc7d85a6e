"""The report: one HTML file that needs nothing beside it, and its tables as CSV and LaTeX."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from activeindex import __version__
from activeindex.evaluation.published import CITATION, COLLECTION
from activeindex.report import tables
from activeindex.report.failures import Failure, Failures, failures_csv
from activeindex.report.figures import FIGURES
from activeindex.report.gallery import AMPLIFIED, make_gallery
from activeindex.report.pictures import Pictures
from activeindex.report.provenance import command_of, latency_of, settings_of
from activeindex.report.runs import ReportedRun, read_runs
from activeindex.runtime.files import write_text
from activeindex.runtime.progress import Progress, Silent

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows.

    Attributes:
        title: Its heading.
        data_dir: The originals, where the runs do not say or they have been moved.
        references_dir: The reference images likewise.
        gallery: Activated images at 1:1, the worst PSNR first.
        failures: Missed queries shown of each run.
        gallery_bytes: What the images at 1:1 may take in the page.
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
    progress: Progress | None = None,
) -> Path:
    """Writes the report of some runs.

    Args:
        runs: The folder of each run by its name.
        output_dir: Gets ``report.html``, ``recall.csv``, ``recall.tex`` and the other tables.
        options: What is shown.
        progress: Told of every section.

    Returns:
        The page.

    Raises:
        InputError: If a folder is not that of a run, or a file in it is malformed.
        OutputError: If a file cannot be written.
    """
    options, progress = options or ReportOptions(), progress or Silent()
    opened = read_runs(dict(runs))
    pictures = [Pictures(run, options.data_dir, options.references_dir) for run in opened]
    failures = [Failures(source) for source in pictures]
    recall = tables.recall_table(opened)
    figures = {}
    for section, makers in FIGURES.items():
        figures[section] = [make(opened) for make in makers]
        progress.advance()
    shown = {found.run.name: _shown(found, options.failures) for found in failures}
    progress.advance()
    gallery = make_gallery(pictures, options.gallery, options.gallery_bytes)
    progress.advance()
    page = _template().render(
        title=options.title,
        version=__version__,
        runs=opened,
        recall=recall,
        figures=figures,
        gallery=gallery,
        amplified=AMPLIFIED,
        failures=shown,
        misses={found.run.name: len(found.misses) for found in failures},
        queries={run.name: _queries(run) for run in opened},
        missing=_unique(pictures),
        settings=settings_of(opened),
        commands=[(run, command_of(run)) for run in opened],
        latencies=[found for run in opened if (found := latency_of(run))],
        published=_published(opened),
        citation=CITATION,
        collection=COLLECTION,
        style=Markup(_resource("style.css")),
        script=Markup(_resource("slider.js")),
    )
    path = output_dir / REPORT_FILE
    for name, text in (
        ("recall.csv", tables.recall_csv(opened)),
        ("detection.csv", tables.detection_csv(opened)),
        ("distortion.csv", tables.distortion_csv(opened)),
        ("times.csv", tables.times_csv(opened)),
        ("failures.csv", failures_csv(failures)),
        ("recall.tex", _latex(recall, options.title)),
        (REPORT_FILE, page),
    ):
        if text.count("\n") > 1:  # more than a header
            write_text(output_dir / name, text)
    progress.advance()
    return path


SECTIONS = len(FIGURES) + 3
"""How often :func:`write_report` reports progress."""


def _shown(found: Failures, most: int) -> list[Failure]:
    return [found.show(miss) for miss in found.chosen(most)]


def _published(runs: Sequence[ReportedRun]) -> list[str]:
    return list(dict.fromkeys(run.published.index for run in runs if run.published))


def _queries(run: ReportedRun) -> int:
    return 0 if run.retrieval is None else len(run.retrieval.columns.rank)


def _unique(pictures: Sequence[Pictures]) -> list[str]:
    return list(dict.fromkeys(line for source in pictures for line in source.missing))


def _latex(recall: tables.Table | None, title: str) -> str:
    return "" if recall is None else tables.recall_latex(recall, f"{title}: R@1 per edit.")


@cache
def _template() -> Any:
    """The page's template; everything put into it is escaped."""
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
    """A share as the paper's tables show it: ``.75``, and ``1`` for all."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.2f}"
    return {"1.00": "1", "0.00": "0"}.get(text, text.removeprefix("0"))


def _distance(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"
