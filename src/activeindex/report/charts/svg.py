"""SVG elements as text, linear scales with their ticks, and the axes that most charts share."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from activeindex.evaluation.statistics import Values

WIDTH = 360.0
"""Width of every chart, in units that are pixels on a phone."""

_HEIGHT = 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 10.0, 10.0, 38.0
_COLOURS = 8
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SHAPES: tuple[Callable[[float, float], str], ...] = (
    lambda x, y: f"M{x - 4:.1f},{y:.1f}a4,4 0 1 0 8,0a4,4 0 1 0 -8,0",
    lambda x, y: f"M{x - 3.6:.1f},{y - 3.6:.1f}h7.2v7.2h-7.2z",
    lambda x, y: f"M{x:.1f},{y - 5:.1f}l5,5l-5,5l-5,-5z",
    lambda x, y: f"M{x:.1f},{y - 4.8:.1f}l4.8,8.6h-9.6z",
)
"""Circle, square, diamond, triangle: runs differ without colours, too."""


def element(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """An element; ``class_`` is its class, and ``_`` in attribute names stands for ``-``."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    if not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{''.join(escape(child) for child in children)}</{name}>")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def chart(height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """The ``<svg>`` of a chart; ``label`` describes it in words."""
    return element(
        "svg",
        *parts,
        class_="chart",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=label,
    )


def colour(place: int) -> str:
    """The colour class of the run or kind at a place; see ``style.css``."""
    return f"c{place % _COLOURS}"


def marker(x: float, y: float, place: int, title: str) -> Markup:
    """A marker whose shape tells runs apart without colour; its title is shown on hover."""
    shape = _SHAPES[place % len(_SHAPES)](x, y)
    return element("path", element("title", title), d=shape, class_=f"mark {colour(place)}")


def text(x: float, y: float, words: str, anchor: str = "start", class_: str = "tick") -> Markup:
    """A label."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def bar(x: tuple[float, float], y: tuple[float, float], place: int, title: str) -> Markup:
    """A filled rectangle from left to right and from top to bottom."""
    (left, right), (top, bottom) = x, y
    size = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return element("rect", element("title", title), **size, class_=f"bar {colour(place)}")


def curve(d: str, place: int, title: str | None = None) -> Markup:
    """A line of a run, in its colour and dashes."""
    titles = [] if title is None else [element("title", title)]
    return element("path", *titles, d=d, class_=f"line d{place % 4} {colour(place)}")


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """The ``d`` of a line through points."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass(frozen=True)
class Scale:
    """Linear map of ``low`` … ``high`` to ``start`` … ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Position of a value, clamped to the range."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def labelled(self, most: int) -> list[tuple[float, str]]:
        """Ticks with their labels: round values in the range, about ``most`` of them or fewer."""
        rough = (self.high - self.low) / max(most, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * step for step in _STEPS if power * step >= rough * (1 - 1e-9))
        digits = 0
        while abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
            digits += 1
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        # Adding 0 makes 0 of -0.
        return [(value, f"{round(value, digits) + 0.0:,.{digits}f}") for value in values]


def range_of(*values: Values, margin: float = 0.04) -> tuple[float, float]:
    """Range of all finite values with a margin on both sides; never empty."""
    joined = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in values])
    finite = joined[np.isfinite(joined)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = (high - low) * margin or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad


@dataclass(frozen=True)
class Frame:
    """Axes with a grid; ``x`` and ``y`` map values to places.

    Attributes:
        x: Horizontal scale.
        y: Vertical scale.
        height: Of the chart.
    """

    x: Scale
    y: Scale
    height: float

    @classmethod
    def of(cls, x_range: tuple[float, float], y_range: tuple[float, float]) -> "Frame":
        """A frame for values of these ranges."""
        x = Scale(*x_range, _LEFT, WIDTH - _RIGHT)
        return cls(x, Scale(*y_range, _HEIGHT - _BOTTOM, _TOP), _HEIGHT)

    def axes(self, x_label: str, y_label: str, *, ticks_below: bool = True) -> Markup:
        """Grid, ticks and labels; the horizontal axis has no ticks without ``ticks_below``."""
        bottom, top = self.y.start, self.y.end
        parts = []
        for value, shown in self.y.labelled(5):
            place = self.y(value)
            parts.append(line(self.x.start, place, self.x.end, place, "grid"))
            parts.append(text(self.x.start - 6, place + 3.5, shown, "end"))
        for value, shown in self.x.labelled(6) if ticks_below else ():
            place = self.x(value)
            parts.append(line(place, bottom, place, bottom + 4, "axis"))
            parts.append(text(place, bottom + 16, shown, "middle"))
        middle = (self.x.start + self.x.end) / 2
        parts.append(line(self.x.start, bottom, self.x.end, bottom, "axis"))
        parts.append(text(middle, self.height - 4, x_label, "middle", "label"))
        turned = f"translate(11 {(bottom + top) / 2:.1f}) rotate(-90)"
        label = element("text", y_label, text_anchor="middle", class_="label")
        return element("g", *parts, element("g", label, transform=turned))
