"""A figure of the page, and texts that figures share."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from activeindex.report.runs import ReportedRun

MOST_ROWS = 24
"""Rows of a chart by edit, at most; the long list goes into the charts by parameter."""


@dataclass(frozen=True)
class Key:
    """A line of a figure's own legend, where its colours are not those of the runs."""

    name: str
    place: int


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        title: Its title.
        caption: Explanation below it.
        charts: Its charts, each with a heading or an empty one.
        missing: Reason why there is none, and the option that brings it.
        keys: Its own legend; empty where the colours are those of the runs.
    """

    title: str
    caption: str
    charts: tuple[tuple[str, Markup], ...] = ()
    missing: str | None = None
    keys: tuple[Key, ...] = ()


def needs(file: str, option: str) -> str:
    """Reason why a figure is missing, and the option that brings it."""
    return f"needs {file}: {option} of `activeindex main` writes it"


def words(title: str, runs: Sequence[ReportedRun]) -> str:
    """Description of a chart, for those who do not see it."""
    return f"{title}: {', '.join(run.name for run in runs)}"
