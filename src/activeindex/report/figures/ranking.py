"""Figures of the ranking: ranks of the originals, precision against recall."""

from collections.abc import Sequence

import numpy as np

from activeindex.evaluation.copy_detection import micro_ap_interval, precision_recall
from activeindex.report.charts.bars import bar_chart
from activeindex.report.charts.curves import Series, line_chart
from activeindex.report.figures.figure import Figure, needs, words
from activeindex.report.runs import ReportedRun

_RANKS = ((1, 1), (2, 5), (6, 10), (11, 50), (51, 100))


def rank_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Ranks of the originals among the neighbours returned."""
    title = "Rank of the original"
    found = [(run, run.retrieval.columns) for run in runs if run.retrieval]
    if not found:
        return Figure(title, "", missing=needs("retr_df.csv", "--eval_retrieval True"))
    most = max(int(columns.neighbours.max()) for _, columns in found)
    bins = [(low, min(high, most)) for low, high in _RANKS if low <= most]
    if most > _RANKS[-1][1]:
        bins.append((_RANKS[-1][1] + 1, most))
    names = [str(low) if low == high else f"{low}–{high}" for low, high in bins]
    bars = []
    for run, columns in found:
        place = np.where(columns.rank < columns.neighbours, columns.rank + 1, np.inf)
        shares = [float(np.mean((place >= low) & (place <= high))) for low, high in bins]
        bars.append((run.name, run.place, [*shares, float(np.mean(np.isinf(place)))]))
    drawn = bar_chart([*names, "missed"], bars, "rank", "share of queries", words(title, runs))
    caption = f"All queries of retr_df.csv. Missed: not among the {most} that were asked for."
    return Figure(title, caption, (("", drawn),))


def precision_recall_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Precision against recall of copy detection, with µAP."""
    title = "Copy detection"
    series, areas = [], []
    for run in runs:
        if run.detection is None or not run.detection.positive.any():
            continue
        curve = precision_recall(run.detection)
        low, high = micro_ap_interval(run.detection)
        areas.append(f"{run.name} µAP {curve.average_precision:.3f} ({low:.3f} to {high:.3f})")
        if run.published and run.published.micro_ap is not None:
            areas.append(f"published {run.published.micro_ap:.3f}")
        series.append(Series(run.name, run.place, curve.recall, curve.precision))
    if not series:
        return Figure(
            title, "", missing=needs("icd_df.csv", "--eval_icd True --query_nonmatch_dir FOLDER")
        )
    drawn = line_chart(
        series, "recall", "precision", words(title, runs), x_range=(0.0, 1.0), marks=False
    )
    caption = f"{'; '.join(areas)}. 95 % intervals by bootstrap over queries."
    return Figure(title, caption, (("", drawn),))
