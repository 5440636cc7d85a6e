"""Charts as inline SVG that takes its colours from the page, so that it is light, dark and printed.

A viewBox of about 360 units is a phone's width: text keeps its size there, and wider pages put
several charts side by side instead of enlarging one.
"""

from activeindex.report.charts.bars import bar_chart, stacked_bars
from activeindex.report.charts.curves import Series, line_chart, point_chart
from activeindex.report.charts.dots import DotRow, Estimate, dot_chart
from activeindex.report.charts.histograms import Sample, histogram_chart

__all__ = [
    "DotRow",
    "Estimate",
    "Sample",
    "Series",
    "bar_chart",
    "dot_chart",
    "histogram_chart",
    "line_chart",
    "point_chart",
    "stacked_bars",
]
