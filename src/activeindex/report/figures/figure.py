"""A figure of the page, and words that figures share."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from activeindex.report.runs import ReportedRun

MOST_ROWS = 24
"""Of a chart by edit; the long list goes into the charts by parameter."""


@dataclass(frozen=True)
class Key:
    """A line of a figure's own legend, where its colours are not those of the runs."""

    name: str
    place: int


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        title: What it shows.
        caption: How to read it.
        charts: Its charts, each with a heading or an empty one.
        missing: Why there is none, and what brings it.
        keys: Its own legend; empty where the colours are those of the runs.
    """

    title: str
    caption: str
    charts: tuple[tuple[str, Markup], ...] = ()
    missing: str | None = None
    keys: tuple[Key, ...] = ()


def needs(file: str, option: str) -> str:
    """Why a figure is missing, and what brings it."""
    return f"needs {file}: {option} of `activeindex main` writes it"


def words(title: str, runs: Sequence[ReportedRun]) -> str:
    """A chart in words, for those who do not see it."""
    return f"{title}: {', '.join(run.name for run in runs)}"
