"""How often the original comes first."""

from collections.abc import Sequence

import numpy as np

from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.statistics import wilson_interval
from activeindex.evaluation.tables import edit_label
from activeindex.report.charts.curves import Series, line_chart
from activeindex.report.charts.dots import DotRow, Estimate, dot_chart
from activeindex.report.figures.figure import MOST_ROWS, Figure, needs, words
from activeindex.report.runs import ReportedRun

_PARAMETERS = 3
"""Values of a parameter from which on it gets a chart."""
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
            known = hits[np.isfinite(hits)]
            interval = wilson_interval(round(float(known.sum())), len(known))
            by_edit[edit].append(Estimate(run.name, run.place, float(known.mean()), interval))
        mean = retrieval.hits.average
        averages.append(Estimate(run.name, run.place, mean, retrieval.hits.average_interval))
    rows = [DotRow(edit_label(edit), tuple(by_edit[edit])) for edit in edits]
    if len(rows) > MOST_ROWS:
        rows = _by_name(found, edits)
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


def _by_name(found: Sequence[tuple[ReportedRun, object]], edits: Sequence[EditKey]) -> list[DotRow]:
    rows = []
    for name in dict.fromkeys(edit[0] for edit in edits):
        estimates = []
        for run, _ in found:
            assert run.retrieval is not None
            hits = run.retrieval.hits
            chosen = hits.select(tuple(edit for edit in hits.edits if edit[0] == name))
            if chosen.edits:
                estimate = chosen.average, chosen.average_interval
                estimates.append(Estimate(run.name, run.place, *estimate))
        rows.append(DotRow(name, tuple(estimates)))
    return rows


def parameter_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 along each parameter that has several values."""
    title = "R@1 along the parameters"
    charts = []
    found = [(run, run.retrieval.hits) for run in runs if run.retrieval]
    names = dict.fromkeys(edit[0] for _, hits in found for edit in hits.edits)
    for name in names:
        series = []
        for run, hits in found:
            own = [
                (float(edit[1]), row[np.isfinite(row)])
                for edit, row in zip(hits.edits, hits.hits, strict=True)
                if edit[0] == name and edit[1] is not None
            ]
            if len(own) < _PARAMETERS:
                continue
            own.sort(key=lambda item: item[0])
            ends = np.array([wilson_interval(round(float(v.sum())), len(v)) for _, v in own])
            x = np.array([value for value, _ in own])
            y = np.array([float(values.mean()) for _, values in own])
            series.append(Series(run.name, run.place, x, y, ends[:, 0], ends[:, 1]))
        if series:
            unit = _UNITS.get(name, "parameter")
            label = words(f"R@1 along {name}", runs)
            charts.append((name, line_chart(series, unit, "R@1", label)))
    if not charts:
        missing = "needs runs over the long list of edits: --use_attacks_2 True"
        return Figure(title, "", missing=missing)
    return Figure(title, "Bands: 95 % intervals (Wilson).", tuple(charts))
