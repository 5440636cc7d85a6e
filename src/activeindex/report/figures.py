"""The charts of a report: each is computed from the runs, or says what it would need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from activeindex.evaluation import attack_name, precision_recall
from activeindex.evaluation.intervals import mean_of_means_interval, wilson_interval
from activeindex.evaluation.tables import Edit, edit_label
from activeindex.report.charts import (
    DotRow,
    Estimate,
    Sample,
    Series,
    bar_chart,
    dot_chart,
    histogram_chart,
    line_chart,
    point_chart,
    stacked_bars,
)
from activeindex.report.charts.scales import range_of
from activeindex.report.runs import EUCLIDEAN, ReportedRun

_MOST_ROWS = 24
"""Of a chart by edit; the long list goes into the charts by parameter."""
_PARAMETERS = 3
"""Values of a parameter from which on it gets a chart."""
_RANKS = ((1, 1), (2, 5), (6, 10), (11, 50), (51, 100))
_STAGES = ("originals", "index", "read", "activate", "save", "edit and extract", "search")
"""In the order of an image's path."""
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


@dataclass(frozen=True)
class Key:
    """A line of a figure's own legend, where its colours are not those of the runs."""

    name: str
    place: int


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        title: What it shows.
        caption: How to read it.
        charts: Its charts, each with a heading or an empty one.
        missing: Why there is none, and what brings it.
        keys: Its own legend; empty where the colours are those of the runs.
    """

    title: str
    caption: str
    charts: tuple[tuple[str, Markup], ...] = ()
    missing: str | None = None
    keys: tuple[Key, ...] = ()


def recall_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 per edit and on average, with intervals."""
    title = "R@1 per edit"
    found = [(run, run.retrieval) for run in runs if run.retrieval]
    if not found:
        return Figure(title, "", missing=_needs("retr_df.csv", "--eval_retrieval True"))
    edits = list(dict.fromkeys(edit for _, r in found for edit in r.hits.edits))
    by_edit: dict[Edit, list[Estimate]] = {edit: [] for edit in edits}
    averages = []
    for run, retrieval in found:
        for edit, hits in zip(retrieval.hits.edits, retrieval.hits.hits, strict=True):
            known = hits[np.isfinite(hits)]
            interval = wilson_interval(round(float(known.sum())), len(known))
            by_edit[edit].append(Estimate(run.name, run.place, float(known.mean()), interval))
        mean = retrieval.hits.average
        averages.append(Estimate(run.name, run.place, mean, retrieval.hits.average_interval))
    rows = [DotRow(edit_label(edit), tuple(by_edit[edit])) for edit in edits]
    if len(rows) > _MOST_ROWS:
        rows = _by_name(found, edits)
    rows.append(DotRow("average", tuple(averages), strong=True))
    caption = (
        "Share of queries whose original comes first. Whiskers: 95 % intervals, Wilson's per edit, "
        "bootstrap over images for the average."
    )
    if len(edits) > _MOST_ROWS:
        caption += (
            f" The {len(edits)} edits of the long list are taken together by name here "
            "(bootstrap over images)."
        )
    return Figure(title, caption, (("", dot_chart(rows, "R@1", _words(title, runs))),))


def _by_name(found: Sequence[tuple[ReportedRun, object]], edits: Sequence[Edit]) -> list[DotRow]:
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


def rank_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Where the originals are among what is returned."""
    title = "Rank of the original"
    found = [(run, run.retrieval.columns) for run in runs if run.retrieval]
    if not found:
        return Figure(title, "", missing=_needs("retr_df.csv", "--eval_retrieval True"))
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
    drawn = bar_chart([*names, "missed"], bars, "rank", "share of queries", _words(title, runs))
    caption = f"All queries of retr_df.csv. Missed: not among the {most} that were asked for."
    return Figure(title, caption, (("", drawn),))


def precision_recall_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Precision against recall of copy detection, with µAP."""
    title = "Copy detection"
    series, areas = [], []
    for run in runs:
        if run.detection is None or not run.detection.pairs.positive.any():
            continue
        curve = precision_recall(run.detection.pairs)
        low, high = run.detection.interval
        areas.append(f"{run.name} µAP {curve.average_precision:.3f} ({low:.3f} to {high:.3f})")
        if run.published and run.published.micro_ap is not None:
            areas.append(f"published {run.published.micro_ap:.3f}")
        series.append(Series(run.name, run.place, curve.recall, curve.precision))
    if not series:
        return Figure(
            title, "", missing=_needs("icd_df.csv", "--eval_icd True --query_nonmatch_dir FOLDER")
        )
    drawn = line_chart(
        series, "recall", "precision", _words(title, runs), x_range=(0.0, 1.0), marks=False
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
        if len(groups) > _MOST_ROWS:
            groups = _together(groups)
        for name, values in groups.items():
            hits = sum(values)
            estimate = hits / len(values), wilson_interval(hits, len(values))
            kept.setdefault(name, []).append(Estimate(run.name, run.place, *estimate))
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
    drawn = dot_chart(rows, "share that keeps its cell", _words(title, runs))
    return Figure(title, caption, (("", drawn),))


def _together(groups: dict[str, list[bool]]) -> dict[str, list[bool]]:
    merged: dict[str, list[bool]] = {}
    for name, values in groups.items():
        merged.setdefault(name if "(" in name else name.split(" ")[0], []).extend(values)
    return merged


def distance_figure(runs: Sequence[ReportedRun]) -> Figure:
    """How far queries are from reconstructions: their original's, and others'."""
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
        return Figure(title, "", missing=_needs("retr_df.csv", "--eval_retrieval True"))
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
        label = f"{title}, {run.name}: " + ", ".join(
            f"{sample.name} {np.mean(sample.values):.3f}" for sample in samples
        )
        means = " · ".join(f"{s.name} {np.mean(s.values):.3f}" for s in samples)
        heading = f"{run.name}: mean {means}"
        charts.append((heading, histogram_chart(samples, axis, label, x_range=limits)))
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
            label = _words(f"R@1 along {name}", runs)
            charts.append((name, line_chart(series, unit, "R@1", label)))
    if not charts:
        missing = "needs runs over the long list of edits: --use_attacks_2 True"
        return Figure(title, "", missing=missing)
    return Figure(title, "Bands: 95 % intervals (Wilson).", tuple(charts))


def trade_off_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 against PSNR of whole runs."""
    title = "R@1 against PSNR, of the runs"
    points, levels = [], []
    for run in runs:
        if run.retrieval is None:
            continue
        hits = run.retrieval.hits
        if not run.records:
            levels.append((run.name, run.place, hits.average))
            continue
        psnr = run.recorded("psnr")
        finite = psnr[np.isfinite(psnr)]
        if not len(finite):
            continue
        x, y = mean_of_means_interval(finite[None]), hits.average_interval
        one = [np.array([value]) for value in (finite.mean(), hits.average, *y, *x)]
        points.append(Series(run.name, run.place, *one))
    if not points:
        return Figure(title, "", missing="needs an active run with activation.jsonl: --active True")
    drawn = point_chart(points, levels, "PSNR in dB", "mean R@1", _words(title, runs))
    caption = "Mean over all edits; 95 % intervals by bootstrap over images."
    caption += " Horizontal lines: passive runs." if levels else ""
    return Figure(title, caption, (("", drawn),))


def quality_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 against PSNR of the images of a run."""
    title = "R@1 against PSNR, of the images"
    curves, levels = [], []
    for run in runs:
        if run.retrieval is None:
            continue
        hits = run.retrieval.hits
        if not run.records:
            levels.append((run.name, run.place, hits.average))
            continue
        curve = _by_quality(run, hits.images.tolist(), np.nanmean(hits.hits, axis=0))
        if curve is not None:
            curves.append(curve)
    if not curves:
        needed = "needs an active run (--active True) of eight images or more"
        return Figure(title, "", missing=needed)
    drawn = point_chart(curves, levels, "PSNR in dB", "mean R@1", _words(title, runs))
    caption = "The images in groups of equal size by their PSNR, with 95 % bootstrap intervals."
    caption += " Horizontal lines: passive runs." if levels else ""
    return Figure(title, caption, (("", drawn),))


def _by_quality(run: ReportedRun, images: list[int], recall: np.ndarray) -> Series | None:
    """Mean recall of the images in groups by PSNR; None for too few images."""
    place = {image: i for i, image in enumerate(images)}
    pairs = [
        (float(record["psnr"]), float(recall[place[record["image"]]]))
        for record in run.records
        if record["image"] in place and np.isfinite(record["psnr"])
    ]
    groups = min(6, len(pairs) // 4)
    if groups < 2:
        return None
    pairs.sort()
    parts = [np.array(part) for part in np.array_split(np.array(pairs), groups)]
    ends = np.array([mean_of_means_interval(part[:, 1][None]) for part in parts])
    means = np.array([part.mean(axis=0) for part in parts])
    return Series(run.name, run.place, means[:, 0], means[:, 1], ends[:, 0], ends[:, 1])


def distortion_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Distributions of PSNR, SSIM and L-infinity."""
    title = "Distortion of the released images"
    active = [run for run in runs if run.records]
    if not active:
        return Figure(title, "", missing="needs an active run with activation.jsonl: --active True")
    charts = []
    for key, heading, axis, digits in (
        ("psnr", "PSNR", "dB", 2),
        ("ssim", "SSIM", "SSIM", 3),
        ("linf", "L∞", "8-bit levels", 1),
    ):
        samples = [Sample(run.name, run.place, run.recorded(key)) for run in active]
        means = ", ".join(
            f"{run.name} {np.mean(run.recorded(key)):.{digits}f} ± "
            f"{np.std(run.recorded(key)):.{digits}f}"
            for run in active
        )
        drawn = histogram_chart(samples, axis, f"{heading}: {means}")
        charts.append((f"{heading}: {means}", drawn))
    caption = "Of the 8-bit files against the 8-bit originals; mean ± standard deviation."
    return Figure(title, caption, tuple(charts))


def time_figure(runs: Sequence[ReportedRun]) -> Figure:
    """Time per stage."""
    title = "Time per stage"
    timed = [run for run in runs if run.stages]
    if not timed:
        return Figure(title, "", missing="needs times.jsonl, which runs of this program write")
    known = {stage: place for place, stage in enumerate(_STAGES)}
    names = sorted(
        dict.fromkeys(name for run in timed for name in run.stages),
        key=lambda name: known.get(name, len(known)),
    )
    keys = tuple(Key(name, place) for place, name in enumerate(names))
    longest = max(sum(seconds for seconds, _ in run.stages.values()) for run in timed)
    factor, unit = (1.0, "s") if longest < 300 else (60.0, "min")
    bars = [
        (
            run.name,
            [(k.name, k.place, run.stages.get(k.name, (0.0, 0))[0] / factor) for k in keys],
        )
        for run in timed
    ]
    caption = (
        "Wall-clock time of committed work, interrupted starts included. Editing overlaps with "
        "the rest where worker processes do it."
    )
    drawn = stacked_bars(bars, unit, _words(title, timed))
    return Figure(title, caption, (("", drawn),), keys=keys)


FIGURES: dict[str, tuple[Callable[[Sequence[ReportedRun]], Figure], ...]] = {
    "recall": (
        recall_figure,
        rank_figure,
        trade_off_figure,
        quality_figure,
        precision_recall_figure,
        parameter_figure,
    ),
    "index": (cell_figure, distance_figure),
    "distortion": (distortion_figure,),
    "times": (time_figure,),
}
"""The figures of each section of the page."""


def _needs(file: str, option: str) -> str:
    return f"needs {file}: {option} of `activeindex main` writes it"


def _words(title: str, runs: Sequence[ReportedRun]) -> str:
    return f"{title}: {', '.join(run.name for run in runs)}"
