"""Charts of quantities: lines, points, and distributions over a common set of bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from activeindex.evaluation.statistics import Values
from activeindex.report.charts.svg import (
    Frame,
    chart,
    colour,
    curve,
    element,
    line,
    marker,
    path_of,
    range_of,
)

_MOST_POINTS = 400
"""Points drawn of a line: more than a chart has pixels only make the file larger."""

_BINS = 30


@dataclass(frozen=True, eq=False)
class Series:
    """One line, or some points.

    Attributes:
        name: Name of the run.
        place: The run's place.
        x: ``(n,)``.
        y: ``(n,)``.
        low: ``(n,)`` or None: the lower ends of the intervals.
        high: ``(n,)`` or None.
        x_low: ``(n,)`` or None: lower ends of the intervals of ``x``, for points.
        x_high: ``(n,)`` or None.
    """

    name: str
    place: int
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    x_low: Values | None = None
    x_high: Values | None = None


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] = (0.0, 1.0),
    marks: bool = True,
) -> Markup:
    """Lines with bands for their intervals.

    Args:
        series: The lines.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        label: Description of the chart.
        x_range: Range of the horizontal axis; that of the values by default.
        y_range: Range of the vertical axis.
        marks: Draw a marker at each value.
    """
    frame = Frame.of(x_range or range_of(*(s.x for s in series)), y_range)
    parts = [frame.axes(x_label, y_label)]
    for one in series:
        if one.low is not None and one.high is not None:
            above, below = zip(one.x, one.high, strict=True), zip(one.x, one.low, strict=True)
            edge = [*above, *reversed([*below])]
            around = path_of((frame.x(x), frame.y(y)) for x, y in edge) + "Z"
            parts.append(element("path", d=around, class_=f"band {colour(one.place)}"))
    for one in series:
        kept = _thinned(len(one.x))
        points = [(frame.x(x), frame.y(y)) for x, y in zip(one.x[kept], one.y[kept], strict=True)]
        parts.append(curve(path_of(points), one.place, one.name))
        if marks:
            parts += [
                marker(x, y, one.place, f"{one.name}: {value_y:.3f} at {value_x:g}")
                for (x, y), value_x, value_y in zip(points, one.x[kept], one.y[kept], strict=True)
            ]
    return chart(frame.height, label, parts)


def point_chart(
    series: Sequence[Series],
    levels: Sequence[tuple[str, int, float]],
    x_label: str,
    y_label: str,
    label: str,
) -> Markup:
    """Points with intervals both ways, and horizontal lines for values without an ``x``.

    Args:
        series: The points.
        levels: Name, place and value of each horizontal line.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis, shares in [0, 1].
        label: Description of the chart.
    """
    ends = [part for s in series for part in (s.x, s.x_low, s.x_high) if part is not None]
    heights = [part for s in series for part in (s.y, s.low, s.high) if part is not None]
    low, high = range_of(*heights, np.array([value for *_, value in levels]), margin=0.15)
    frame = Frame.of(range_of(*ends, margin=0.15), (max(low, 0.0), min(high, 1.0)))
    parts = [frame.axes(x_label, y_label)]
    for name, place, value in levels:
        y = frame.y(value)
        across = path_of([(frame.x.start, y), (frame.x.end, y)])
        parts.append(curve(across, place, f"{name}: {value:.3f}"))
    for one in series:
        for i in range(len(one.x)):
            x, y = frame.x(one.x[i]), frame.y(one.y[i])
            whisker = f"whisker {colour(one.place)}"
            if one.low is not None and one.high is not None:
                parts.append(line(x, frame.y(one.low[i]), x, frame.y(one.high[i]), whisker))
            if one.x_low is not None and one.x_high is not None:
                parts.append(line(frame.x(one.x_low[i]), y, frame.x(one.x_high[i]), y, whisker))
            parts.append(marker(x, y, one.place, f"{one.name}: {one.y[i]:.3f} at {one.x[i]:.2f}"))
    return chart(frame.height, label, parts)


def _thinned(count: int) -> NDArray[np.int64]:
    """Places of the points drawn: evenly spread, the first and the last among them."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, _MOST_POINTS).astype(np.int64))


def histogram_chart(
    samples: Sequence[tuple[str, int, Values]],
    x_label: str,
    label: str,
    *,
    x_range: tuple[float, float] | None = None,
) -> Markup:
    """Draw each sample as the share of its values per bin; small samples get fewer bins.

    Args:
        samples: Name, place and values ``(n,)`` of each run or kind of query, n at least 1; values
            that are not finite are left out.
        x_label: Label of the horizontal axis.
        label: Description of the chart.
        x_range: Range of the values; those beyond are counted in the first or last bin.
    """
    limits = x_range or range_of(*(values for *_, values in samples))
    most = max(np.count_nonzero(np.isfinite(values)) for *_, values in samples)
    edges = np.linspace(*limits, int(min(_BINS, max(8, 2 * np.sqrt(most)))) + 1)
    shares = [_shares(values, edges) for *_, values in samples]
    frame = Frame.of(limits, (0.0, float(max(share.max() for share in shares)) * 1.08 or 1.0))
    parts = [frame.axes(x_label, "share")]
    for (name, place, _), share in zip(samples, shares, strict=True):
        corners = [(edges[0], 0.0)]
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            corners += [(left, value), (right, value)]
        corners.append((edges[-1], 0.0))
        outline = path_of((frame.x(x), frame.y(y)) for x, y in corners)
        classes = f"{colour(place)} d{place % 4}"
        title = element("title", name)
        parts.append(element("path", title, d=outline + "Z", class_=f"fill {classes}"))
        # Nothing is drawn along empty bins: outlines would hide each other on the axis.
        pieces = [
            path_of([(frame.x(a), frame.y(b)), (frame.x(c), frame.y(d))])
            for (a, b), (c, d) in pairwise(corners)
            if b > 0 or d > 0
        ]
        parts.append(element("path", d=_joined(pieces), class_=f"line {classes}"))
    return chart(frame.height, label, parts)


def _joined(pieces: list[str]) -> str:
    """Join pieces of a path that meet, so that dashes run through."""
    joined = ""
    for piece in pieces:
        start, _, end = piece.partition("L")
        meets = joined.endswith(start.removeprefix("M")) and joined
        joined += f"L{end}" if meets else piece
    return joined


def _shares(values: Values, edges: Values) -> Values:
    finite = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    counts, _ = np.histogram(finite, bins=edges)
    return counts / max(len(finite), 1)
