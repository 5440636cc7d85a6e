"""Figures of the index: cells and reconstructions that queries meet."""

from collections.abc import Sequence

import numpy as np

from activeindex.evaluation.retrieval import attack_name
from activeindex.evaluation.statistics import share_of
from activeindex.evaluation.tables import edit_label
from activeindex.report.charts.dots import DotRow, Estimate, dot_chart
from activeindex.report.charts.histograms import Sample, histogram_chart
from activeindex.report.charts.scales import range_of
from activeindex.report.figures.figure import MOST_ROWS, Figure, Key, needs, words
from activeindex.report.runs import EUCLIDEAN, ReportedRun


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
            Sample(key.name, key.place, part)
            for key, part in zip(keys, values, strict=True)
            if len(part)
        ]
        axis = EUCLIDEAN if run.places else run.distance_kind
        means = [f"{sample.name} {np.mean(sample.values):.3f}" for sample in samples]
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
