"""Charts with a row or group per category: bars, and shares as dots with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from activeindex.evaluation.statistics import Interval
from activeindex.report.charts.svg import (
    WIDTH,
    Frame,
    Scale,
    bar,
    chart,
    colour,
    element,
    line,
    marker,
    text,
)

_LONGEST_NAME = 52
_LABELS = 164.0
_TOP, _BOTTOM = 8.0, 36.0


def bar_chart(
    categories: Sequence[str],
    runs: Sequence[tuple[str, int, Sequence[float]]],
    x_label: str,
    y_label: str,
    label: str,
) -> Markup:
    """A group of bars per category, a bar per run.

    Args:
        categories: Names of the groups.
        runs: Name, place and values of every run, a value per category.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        label: Description of the chart.
    """
    highest = max((value for _, _, values in runs for value in values), default=0.0)
    frame = Frame.of((0.0, float(len(categories))), (0.0, highest * 1.08 or 1.0))
    parts = [frame.axes("", y_label, ticks_below=False)]
    middle = (frame.x.start + frame.x.end) / 2
    parts.append(text(middle, frame.height - 4, x_label, "middle", "label"))
    for group, category in enumerate(categories):
        bottom = frame.y(0.0)
        parts.append(text(frame.x(group + 0.5), bottom + 16, category, "middle"))
        width = 0.8 / len(runs)
        for number, (name, place, values) in enumerate(runs):
            left = frame.x(group + 0.1 + width * number)
            right = max(frame.x(group + 0.1 + width * (number + 1)) - 1, left + 0.5)
            title = f"{name}, {category}: {values[group]:.3f}"
            parts.append(bar((left, right), (frame.y(values[group]), bottom), place, title))
    return chart(frame.height, label, parts)


def stacked_bars(
    runs: Sequence[tuple[str, Sequence[tuple[str, int, float]]]], unit: str, label: str
) -> Markup:
    """A bar per run, made of parts.

    Args:
        runs: Name of each run, and name, place and length of its parts.
        unit: Unit of the lengths.
        label: Description of the chart.
    """
    longest = max((sum(length for *_, length in parts) for _, parts in runs), default=0.0) or 1.0
    x = Scale(0.0, longest, 10.0, WIDTH - 10.0)
    height = 46.0 * len(runs) + 38.0
    drawn: list[Markup] = []
    for number, (name, parts) in enumerate(runs):
        top = 46.0 * number + 22.0
        total = sum(length for *_, length in parts)
        shown = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        drawn.append(text(10.0, top - 6, f"{shown}: {total:,.1f} {unit}", class_="name"))
        at = 0.0
        for part, place, length in parts:
            title = f"{name}, {part}: {length:,.1f} {unit}"
            left, right = x(at), max(x(at + length) - 0.5, x(at) + 0.3)
            drawn.append(bar((left, right), (top, top + 18.0), place, title))
            at += length
    drawn.append(line(x.start, height - 34, x.end, height - 34, "axis"))
    for value, ticked in x.labelled(5):
        drawn.append(text(x(value), height - 20, ticked, "middle"))
    drawn.append(text((x.start + x.end) / 2, height - 4, unit, "middle", "label"))
    return chart(height, label, drawn)


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
