"""Figures of queries: recall, ranks and precision, cells and distances in the index."""

from collections.abc import Sequence

import numpy as np

from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import micro_ap_interval, precision_recall
from activeindex.evaluation.retrieval import EditKey, attack_name
from activeindex.evaluation.statistics import share_of
from activeindex.evaluation.tables import edit_label
from activeindex.report.charts.bars import DotRow, Estimate, bar_chart, dot_chart
from activeindex.report.charts.curves import Series, histogram_chart, line_chart
from activeindex.report.charts.svg import range_of
from activeindex.report.figures.figure import MOST_ROWS, Figure, Key, needs, words
from activeindex.report.runs import EUCLIDEAN, ReportedRun

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
_RANKS = ((1, 1), (2, 5), (6, 10), (11, 50), (51, 100))


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


def cell_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Share of queries that stay in the inverted list of their original."""
    title = "Queries that keep their coarse cell"
    kept: dict[str, list[Estimate]] = {}
    published = []
    for run in runs:
        groups: dict[str, list[bool]] = {}
        for place in run.places:
            if place.cell_kept is not None:
                edit = attack_name(place.attack), place.attack_param
                name = edit_label(edit) if place.test == "retrieval" else "copy detection (auto)"
                groups.setdefault(name, []).append(place.cell_kept)
        if len(groups) > MOST_ROWS:
            groups = _together(groups)
        for name, values in groups.items():
            if share := share_of(np.array(values, dtype=np.float64)):
                kept.setdefault(name, []).append(Estimate(run.name, run.place, *share))
        if groups and run.published and run.published.cell_kept is not None:
            published.append(f"{run.published.arm} {run.published.cell_kept:.3f}")
    if not kept:
        return Figure(
            title,
            "",
            missing="needs queries.csv of a run with an inverted file (IVF…): runs of this "
            "program write it, and indexes without inverted lists have no cells",
        )
    rows = [DotRow(name, tuple(estimates)) for name, estimates in kept.items()]
    caption = "Share of queries in the inverted list of their original's feature (Wilson, 95 %)."
    if published:
        caption += f" Published for auto: {', '.join(published)}."
    drawn = dot_chart(rows, "share that keeps its cell", words(title, runs))
    return Figure(title, caption, (("", drawn),))


def _together(groups: dict[str, list[bool]]) -> dict[str, list[bool]]:
    merged: dict[str, list[bool]] = {}
    for name, values in groups.items():
        merged.setdefault(name if "(" in name else name.split(" ")[0], []).extend(values)
    return merged


def distance_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Distances of queries to reconstructions: their original's, and others'."""
    title = "Distances to the reconstruction"
    keys = (Key("unedited", 0), Key("edited", 1), Key("not matching", 2))
    kinds = [(run, _landed(run)) for run in runs]
    source = "queries.csv"
    if not any(sum(map(len, values)) for _, values in kinds):
        kinds = [(run, _returned(run)) for run in runs]
        source = (
            "retr_df.csv, without queries.csv: only of originals that were returned; not "
            "matching: what came first in place of an original"
        )
    shown = [(run, values) for run, values in kinds if any(len(part) for part in values)]
    if not shown:
        return Figure(title, "", missing=needs("retr_df.csv", "--eval_retrieval True"))
    limits = range_of(*(part for _, values in shown for part in values))
    limits = max(0.0, limits[0]), limits[1]
    charts = []
    for run, values in shown:
        samples = [
            (key.name, key.place, part) for key, part in zip(keys, values, strict=True) if len(part)
        ]
        axis = EUCLIDEAN if run.places else run.distance_kind
        means = [f"{name} {np.mean(part):.3f}" for name, _, part in samples]
        label = f"{title}, {run.name}: {', '.join(means)}"
        drawn = histogram_chart(samples, axis, label, x_range=limits)
        charts.append((f"{run.name}: mean {' · '.join(means)}", drawn))
    caption = (
        "Of a query's feature to what the index reconstructs: for its original (unedited, edited), "
        f"and for another image (not matching). From {source}."
    )
    return Figure(title, caption, tuple(charts), keys=keys)


def _landed(run: ReportedRun) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own: tuple[list[float], list[float]] = ([], [])
    other = []
    for place in run.places:
        if place.distance is not None:
            own[attack_name(place.attack) != "none"].append(place.distance)
        if place.other_distance is not None:
            other.append(place.other_distance)
    return np.array(own[0]), np.array(own[1]), np.array(other)


def _returned(run: ReportedRun) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if run.retrieval is None:
        return np.empty(0), np.empty(0), np.empty(0)
    columns, values = run.retrieval.columns, run.retrieval.true_distances
    shown = np.array([run.shown_distance(v) if np.isfinite(v) else np.nan for v in values])
    plain = np.array([edit[0] == "none" for edit in columns.edits])[columns.edit]
    found = np.isfinite(shown)
    firsts = [m.returned_distance for m in run.retrieval.misses if m.returned >= 0]
    other = np.array([run.shown_distance(value) for value in firsts if np.isfinite(value)])
    return shown[found & plain], shown[found & ~plain], other
