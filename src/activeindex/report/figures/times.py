"""Figure of the time that each stage takes."""

from collections.abc import Sequence

from activeindex.report.charts.bars import stacked_bars
from activeindex.report.figures.figure import Figure, Key, words
from activeindex.report.runs import ReportedRun

_STAGES = ("originals", "index", "read", "activate", "save", "edit and extract", "search")
"""The stages, in the order of an image's path."""


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
