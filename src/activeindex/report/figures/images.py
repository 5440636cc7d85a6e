"""Figures of released images: their distortion, the recall that it buys, and the time it takes."""

from collections.abc import Callable, Sequence

import numpy as np

from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.statistics import mean_of_means_interval
from activeindex.report.charts.bars import stacked_bars
from activeindex.report.charts.curves import Series, histogram_chart, point_chart
from activeindex.report.figures.figure import Figure, Key, words
from activeindex.report.runs import ReportedRun

_STAGES = ("originals", "index", "read", "activate", "save", "edit and extract", "search")
"""The stages, in the order of an image's path."""


def trade_off_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 against PSNR of whole runs."""
    return _recall_against_psnr(
        "R@1 against PSNR, of the runs",
        runs,
        _whole,
        missing="needs an active run with activation.jsonl: --active True",
        caption="Mean over all edits; 95 % intervals by bootstrap over images.",
    )


def quality_figure(runs: Sequence[ReportedRun]) -> Figure:
    """R@1 against PSNR of the images of a run."""
    return _recall_against_psnr(
        "R@1 against PSNR, of the images",
        runs,
        _by_quality,
        missing="needs an active run (--active True) of eight images or more",
        caption="The images in groups of equal size by their PSNR, with 95 % bootstrap intervals.",
    )


def _recall_against_psnr(
    title: str,
    runs: Sequence[ReportedRun],
    points_of: Callable[[ReportedRun, HitTable], Series | None],
    *,
    missing: str,
    caption: str,
) -> Figure:
    points, levels = [], []
    for run in runs:
        if run.retrieval is None:
            continue
        hits = run.retrieval.hits
        if not run.records:
            levels.append((run.name, run.place, hits.average))
        elif (found := points_of(run, hits)) is not None:
            points.append(found)
    if not points:
        return Figure(title, "", missing=missing)
    drawn = point_chart(points, levels, "PSNR in dB", "mean R@1", words(title, runs))
    caption += " Horizontal lines: passive runs." if levels else ""
    return Figure(title, caption, (("", drawn),))


def _whole(run: ReportedRun, hits: HitTable) -> Series | None:
    """Mean recall and PSNR of a run; None where no PSNR is finite."""
    psnr = run.recorded("psnr")
    finite = psnr[np.isfinite(psnr)]
    if not len(finite):
        return None
    average, ends = hits.average_estimate
    values = (finite.mean(), average, *ends, *mean_of_means_interval(finite[None]))
    return Series(run.name, run.place, *(np.array([value]) for value in values))


def _by_quality(run: ReportedRun, hits: HitTable) -> Series | None:
    """Mean recall of the images in groups by PSNR; None for too few images."""
    recall = np.nanmean(hits.hits, axis=0)
    place = {image: i for i, image in enumerate(hits.images.tolist())}
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
        samples = [(run.name, run.place, run.recorded(key)) for run in active]
        means = ", ".join(_mean(run, key, digits) for run in active)
        drawn = histogram_chart(samples, axis, f"{heading}: {means}")
        charts.append((f"{heading}: {means}", drawn))
    caption = "Of the 8-bit files against the 8-bit originals; mean ± standard deviation. "
    caption += "PSNR of an image that was left as it was is infinite, and in no mean."
    return Figure(title, caption, tuple(charts))


def _mean(run: ReportedRun, key: str, digits: int) -> str:
    """Mean and standard deviation; of PSNR, over the images that were changed at all."""
    values = run.recorded(key)
    values = values[np.isfinite(values)]
    if not len(values):
        return f"{run.name} ∞"
    return f"{run.name} {np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


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
    drawn = stacked_bars(bars, unit, words(title, timed))
    return Figure(title, caption, (("", drawn),), keys=keys)
