"""Figures of recall: R@1 per edit and along the parameters of edits."""

from collections.abc import Sequence

import numpy as np

from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.statistics import share_of
from activeindex.evaluation.tables import edit_label
from activeindex.report.charts.curves import Series, line_chart
from activeindex.report.charts.dots import DotRow, Estimate, dot_chart
from activeindex.report.figures.figure import MOST_ROWS, Figure, needs, words
from activeindex.report.runs import ReportedRun

_PARAMETERS = 3
"""Least number of values of a parameter that gets a chart."""
_UNITS = {
    "rotation": "degrees",
    "center_crop": "kept share of the area",
    "resize": "kept share of the area",
    "blur": "kernel size in pixels",
    "jpeg": "JPEG quality",
    "hue": "share of the colour circle",
    "contrast": "factor",
    "brightness": "factor",
}


def recall_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 per edit and on average, with intervals."""
    title = "R@1 per edit"
    found = [(run, run.retrieval) for run in runs if run.retrieval]
    if not found:
        return Figure(title, "", missing=needs("retr_df.csv", "--eval_retrieval True"))
    edits = list(dict.fromkeys(edit for _, r in found for edit in r.hits.edits))
    by_edit: dict[EditKey, list[Estimate]] = {edit: [] for edit in edits}
    averages = []
    for run, retrieval in found:
        for edit, hits in zip(retrieval.hits.edits, retrieval.hits.hits, strict=True):
            if share := share_of(hits):
                by_edit[edit].append(Estimate(run.name, run.place, *share))
        averages.append(Estimate(run.name, run.place, *retrieval.hits.average_estimate))
    rows = [DotRow(edit_label(edit), tuple(by_edit[edit])) for edit in edits]
    if len(rows) > MOST_ROWS:
        rows = _by_name([(run, retrieval.hits) for run, retrieval in found], edits)
    rows.append(DotRow("average", tuple(averages), strong=True))
    caption = (
        "Share of queries whose original comes first. Whiskers: 95 % intervals, Wilson's per edit, "
        "bootstrap over images for the average."
    )
    if len(edits) > MOST_ROWS:
        caption += (
            f" The {len(edits)} edits of the long list are taken together by name here "
            "(bootstrap over images)."
        )
    return Figure(title, caption, (("", dot_chart(rows, "R@1", words(title, runs))),))


def _by_name(
    found: Sequence[tuple[ReportedRun, HitTable]], edits: Sequence[EditKey]
) -> list[DotRow]:
    rows: dict[str, list[Estimate]] = {name: [] for name, _ in edits}
    for name, estimates in rows.items():
        for run, hits in found:
            chosen = hits.select(tuple(edit for edit in hits.edits if edit[0] == name))
            if chosen.edits:
                estimates.append(Estimate(run.name, run.place, *chosen.average_estimate))
    return [DotRow(name, tuple(estimates)) for name, estimates in rows.items()]


def parameter_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 along each parameter that has several values."""
    title = "R@1 along the parameters"
    charts = []
    found = [(run, run.retrieval.hits) for run in runs if run.retrieval]
    names = dict.fromkeys(edit[0] for _, hits in found for edit in hits.edits)
    for name in names:
        series = []
        for run, hits in found:
            points = sorted(
                (float(edit[1]), share[0], *share[1])
                for edit, row in zip(hits.edits, hits.hits, strict=True)
                if edit[0] == name and edit[1] is not None and (share := share_of(row))
            )
            if len(points) >= _PARAMETERS:
                series.append(Series(run.name, run.place, *np.array(points).T))
        if series:
            unit = _UNITS.get(name, "parameter")
            label = words(f"R@1 along {name}", runs)
            charts.append((name, line_chart(series, unit, "R@1", label)))
    if not charts:
        missing = "needs runs over the long list of edits: --use_attacks_2 True"
        return Figure(title, "", missing=missing)
    return Figure(title, "Bands: 95 % intervals (Wilson).", tuple(charts))
