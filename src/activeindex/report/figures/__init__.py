"""The charts of a report: each is computed from the runs, or says what it would need."""

from collections.abc import Callable, Sequence

from activeindex.report.figures.distortion import (
    distortion_figure,
    quality_figure,
    trade_off_figure,
)
from activeindex.report.figures.figure import Figure, Key
from activeindex.report.figures.index import cell_figure, distance_figure
from activeindex.report.figures.ranking import precision_recall_figure, rank_figure
from activeindex.report.figures.recall import parameter_figure, recall_figure
from activeindex.report.figures.times import time_figure
from activeindex.report.runs import ReportedRun

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

__all__ = [
    "FIGURES",
    "Figure",
    "Key",
    "cell_figure",
    "distance_figure",
    "distortion_figure",
    "parameter_figure",
    "precision_recall_figure",
    "quality_figure",
    "rank_figure",
    "recall_figure",
    "time_figure",
    "trade_off_figure",
]
