"""Distributions as outlines over a common set of bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from activeindex.report.charts.scales import range_of
from activeindex.report.charts.svg import Frame, chart, colour, element, path_of

_BINS = 30


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one run, or of one kind of query.

    Attributes:
        name: Name of the run or kind.
        place: Its place.
        values: ``(n,)``, n at least 1; those that are not finite are left out.
    """

    name: str
    place: int
    values: NDArray[np.float64]


def histogram_chart(
    samples: Sequence[Sample],
    x_label: str,
    label: str,
    *,
    x_range: tuple[float, float] | None = None,
) -> Markup:
    """Draw each sample as the share of its values per bin; small samples get fewer bins.

    Args:
        samples: The samples.
        x_label: Label of the horizontal axis.
        label: Description of the chart.
        x_range: Range of the values; those beyond are counted in the first or last bin.
    """
    limits = x_range or range_of(*(sample.values for sample in samples))
    most = max(np.count_nonzero(np.isfinite(sample.values)) for sample in samples)
    edges = np.linspace(*limits, int(min(_BINS, max(8, 2 * np.sqrt(most)))) + 1)
    shares = [_shares(sample.values, edges) for sample in samples]
    frame = Frame.of(limits, (0.0, float(max(share.max() for share in shares)) * 1.08 or 1.0))
    parts = [frame.axes(x_label, "share")]
    for sample, share in zip(samples, shares, strict=True):
        corners = [(edges[0], 0.0)]
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            corners += [(left, value), (right, value)]
        corners.append((edges[-1], 0.0))
        outline = path_of((frame.x(x), frame.y(y)) for x, y in corners)
        classes = f"{colour(sample.place)} d{sample.place % 4}"
        title = element("title", sample.name)
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


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    counts, _ = np.histogram(finite, bins=edges)
    return counts / max(len(finite), 1)
