"""Shares per edit as dots with intervals: a row per edit, a dot per run."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from activeindex.evaluation.statistics import Interval
from activeindex.report.charts.scales import Scale
from activeindex.report.charts.svg import WIDTH, chart, colour, element, line, marker, text

_LABELS = 164.0
_TOP, _BOTTOM = 8.0, 36.0


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1] with its interval, of the run at a place."""

    name: str
    place: int
    value: float
    interval: Interval


@dataclass(frozen=True)
class DotRow:
    """The estimates of one edit."""

    label: str
    estimates: tuple[Estimate, ...]
    strong: bool = False
    """True for an average."""


def dot_chart(rows: Sequence[DotRow], x_label: str, label: str) -> Markup:
    """Draw the rows; the runs of a row stand one below the other.

    Args:
        rows: The edits.
        x_label: Label of the horizontal axis, which goes from 0 to 1.
        label: Description of the chart.
    """
    runs = max(len(row.estimates) for row in rows)
    each = max(18.0, 8.0 * runs + 6.0)
    height = _TOP + each * len(rows) + _BOTTOM
    x = Scale(0.0, 1.0, _LABELS, WIDTH - 12.0)
    parts = []
    for value, shown in x.labelled(5):
        parts.append(line(x(value), _TOP, x(value), height - _BOTTOM, "grid"))
        parts.append(text(x(value), height - _BOTTOM + 14, shown, "middle"))
    parts.append(text((x.start + x.end) / 2, height - 4, x_label, "middle", "label"))
    for number, row in enumerate(rows):
        middle = _TOP + each * (number + 0.5)
        class_ = "name strong" if row.strong else "name"
        parts.append(text(_LABELS - 10, middle + 4, row.label, "end", class_))
        parts.append(line(_LABELS, middle + each / 2, x.end, middle + each / 2, "rule"))
        first = middle - 4.0 * (len(row.estimates) - 1)
        for below, estimate in enumerate(row.estimates):
            (low, high), y = estimate.interval, first + 8.0 * below
            title = f"{estimate.name}, {row.label}: {estimate.value:.3f} ({low:.3f} to {high:.3f})"
            whisker = line(x(low), y, x(high), y, f"whisker {colour(estimate.place)}")
            mark = marker(x(estimate.value), y, estimate.place, title)
            parts.append(element("g", whisker, mark))
    return chart(height, label, parts)
