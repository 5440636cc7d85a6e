import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from activeindex.evaluation.statistics import Interval
from activeindex.report.charts.bars import DotRow, Estimate, bar_chart, dot_chart, stacked_bars
from activeindex.report.charts.curves import Series, histogram_chart, line_chart, point_chart
from activeindex.report.charts.svg import Scale, range_of

NAME = "a run <b>&\"'"
numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(numbers, st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_lie_in_the_range_and_read_as_what_they_are(
    low: float, span: float, most: int
) -> None:
    scale = Scale(low, low + span, 0.0, 100.0)
    ticks = scale.labelled(most)
    assert len(ticks) <= most + 1
    step = (ticks[1][0] - ticks[0][0]) if len(ticks) > 1 else span
    for value, text in ticks:
        assert low - 1e-6 * step <= value <= low + span + 1e-6 * step
        assert float(text.replace(",", "")) == pytest.approx(value, abs=step * 1e-3)


@given(st.lists(st.floats(allow_nan=True), max_size=8))
def test_a_range_is_never_empty(values: list[float]) -> None:
    finite = [value for value in values if np.isfinite(value) and abs(value) < 1e300]
    low, high = range_of(np.array(finite))
    assert low < high
    assert all(low <= value <= high for value in finite)


def charts() -> dict[str, Markup]:
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.9, 0.4])
    series = Series(NAME, 1, x, y, y - 0.1, y + 0.1, x - 0.1, x + 0.1)
    estimate = Estimate(NAME, 2, 0.5, Interval(0.4, 0.6))
    return {
        "line": line_chart([series], NAME, "y", NAME),
        "points": point_chart([series], [(NAME, 0, 0.3)], "x", NAME, NAME),
        "dots": dot_chart([DotRow(NAME, (estimate, estimate), strong=True)], "x", NAME),
        "histogram": histogram_chart([(NAME, 3, y), ("b", 0, x)], NAME, NAME),
        "bars": bar_chart(["a", NAME], [(NAME, 9, [0.1, 0.0])], "x", "y", NAME),
        "stacked": stacked_bars([(NAME, [(NAME, 0, 1.0), ("b", 1, 0.0)])], "s", NAME),
    }


@pytest.mark.parametrize("kind", list(charts()))
def test_charts_are_well_formed_and_say_in_words_what_they_show(kind: str) -> None:
    root = ET.fromstring(str(charts()[kind]))
    assert root.attrib["aria-label"] == NAME
    texts = [part.text for part in root.iter("title")]
    assert any(text is not None and text.startswith(NAME) for text in texts)


@pytest.mark.parametrize("kind", list(charts()))
def test_nothing_is_drawn_outside_of_a_chart(kind: str) -> None:
    root = ET.fromstring(str(charts()[kind]))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    limits = {"x": width, "x1": width, "x2": width, "y1": height, "y2": height}
    for part in root.iter():
        for key, limit in limits.items():
            assert 0 <= float(part.attrib.get(key, 0)) <= limit


def test_values_alike_still_make_a_histogram() -> None:
    drawn = histogram_chart([("one", 0, np.array([3.0]))], "x", "one")
    assert "NaN" not in drawn
    assert "nan" not in drawn
