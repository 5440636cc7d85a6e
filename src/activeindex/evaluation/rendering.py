"""Recall and copy detection as rich tables, plain text and CSV; several runs side by side."""

import io
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.errors import InputError
from activeindex.evaluation.csv_rows import csv_text
from activeindex.evaluation.tables import (
    MEASURES,
    PUBLISHED_EDITS,
    DetectionSummary,
    Edit,
    Measure,
    RecallTable,
)
from activeindex.runtime.files import write_text

if TYPE_CHECKING:  # rich takes a tenth of a second to import, and only rendering needs it.
    from rich.table import Table
    from rich.text import Text

_WIDTH = 100
_LEAST_WIDTH = 7
_UNFOLDED = 1 << 12
_RUNS_ABREAST = 5
_LONGEST_DIFFERENCE = 24


def recall_comparison(runs: Mapping[str, RecallTable], measure: Measure = "R@1") -> "Table":
    """One measure of several runs: a row per edit, a column per run.

    Two runs get a column with the second minus the first. The averages are over the edits that all
    runs have; where these include the published ones and more, a second average over the published
    ones can be held against the paper.

    Args:
        runs: Name and table of each run, e.g. ``{"passive": …, "active": …}``.
        measure: What to show.

    Returns:
        A table for a rich console, in Markdown's layout so that it can be piped and pasted.

    Raises:
        InputError: If there is no run.
    """
    tables = list(runs.values())
    if not tables:
        raise InputError("runs: expected at least one, found none")
    table = markdown_table([f"{measure}", *runs, *([_difference(runs)] if len(runs) == 2 else [])])
    by_edit = [{row.edit: row for row in run.rows} for run in tables]
    rows = {row.edit: row.label for run in tables for row in run.rows}
    for edit, label in rows.items():
        found = [rows_of.get(edit) for rows_of in by_edit]
        _add(table, label, [row.value(measure) if row else None for row in found])
    for label, edits in _averaged(tables):
        means = [run.select(edits).average.value(measure) for run in tables]
        _add(table, label, means, style="bold")
    return table


def recall_overview(run: RecallTable) -> "Table":
    """All four measures of one run: a row per edit, then the averages; a rich table."""
    table = markdown_table(["edit", "queries", *MEASURES])
    for row in run.rows:
        table.add_row(
            text_cell(row.label), str(row.queries), *(f"{row.value(m):.3f}" for m in MEASURES)
        )
    for label, edits in _averaged([run]):
        mean = run.select(edits).average
        cells = [str(mean.queries), *(f"{mean.value(m):.3f}" for m in MEASURES)]
        table.add_row(label, *cells, style="bold")
    return table


def detection_comparison(runs: Mapping[str, DetectionSummary]) -> "Table":
    """Copy detection of several runs: a row per run; a rich table."""
    table = markdown_table(["copy detection", "µAP", "matching", "non-matching", "pairs"])
    for name, run in runs.items():
        counts = (run.matching, run.non_matching, run.pairs)
        table.add_row(text_cell(name), _number(run.micro_ap), *(f"{count:,}" for count in counts))
    return table


def recall_text(runs: Mapping[str, RecallTable], measures: Sequence[Measure] = MEASURES) -> str:
    """Recall as plain text of at most 100 columns, for files and pipes.

    One run is shown with all measures in one table; several with a table per measure, and with
    more than five of them in several tables.

    Args:
        runs: Name and table of each run.
        measures: What to show of several runs.

    Raises:
        InputError: If there is no run.
    """
    if len(runs) == 1:
        return plain_text(recall_overview(*runs.values()))
    names = list(runs)
    blocks = [names[i : i + _RUNS_ABREAST] for i in range(0, max(1, len(names)), _RUNS_ABREAST)]
    return "\n".join(
        plain_text(recall_comparison({name: runs[name] for name in block}, measure))
        for measure in measures
        for block in blocks
    )


def plain_text(table: "Table", width: int | None = _WIDTH) -> str:
    """A rich table as text without colours.

    Args:
        table: The table.
        width: Of a line at most, for which cells are folded; None for a line per row however long.
    """
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=width or _UNFOLDED,
        color_system=None,
        force_terminal=False,
        no_color=True,
    )
    with console.capture() as captured:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines() if line.strip())


def write_recall(path: Path, runs: Mapping[str, RecallTable]) -> None:
    """Writes recall tables as CSV, whole or not at all.

    One line per run and edit, in full precision, then the run's average: ``run, attack,
    attack_param, queries, r@1, r@10, r@100, map``.
    """
    lines: list[Sequence[str | int | float]] = [
        ("run", "attack", "attack_param", "queries", "r@1", "r@10", "r@100", "map")
    ]
    for name, run in runs.items():
        for row in (*run.rows, run.average):
            param = "" if row.attack_param is None else row.attack_param
            values = (row.value(measure) for measure in MEASURES)
            lines.append((name, row.attack, param, row.queries, *values))
    write_text(path, csv_text(lines))


def write_detection(path: Path, runs: Mapping[str, DetectionSummary]) -> None:
    """Writes copy detection as CSV, whole or not at all.

    One line per run: ``run, micro_ap, matching, non_matching, pairs``.
    """
    lines: list[Sequence[str | int | float]] = [
        ("run", "micro_ap", "matching", "non_matching", "pairs")
    ]
    for name, run in runs.items():
        lines.append((name, run.micro_ap, run.matching, run.non_matching, run.pairs))
    write_text(path, csv_text(lines))


def _averaged(tables: Sequence[RecallTable]) -> list[tuple[str, set[Edit]]]:
    """Which averages to show under a table, and the edits that each is over."""
    common = set.intersection(*(set(table.edits) for table in tables))
    if not common:
        return []
    every = set().union(*(table.edits for table in tables))
    label = "avg" if common == every else f"avg of {len(common)} shared"
    averages = [(label, common)]
    published = set(PUBLISHED_EDITS)
    if published < common:
        averages.append((f"avg of the paper's {len(published)}", published))
    return averages


def _difference(runs: Mapping[str, RecallTable]) -> str:
    first, second = runs
    header = f"{second} - {first}"
    return header if len(header) <= _LONGEST_DIFFERENCE else "difference"


def markdown_table(headers: Sequence[str], whole: Collection[str] = ()) -> "Table":
    """An empty rich table in Markdown's layout, the first column to the left.

    Args:
        headers: Of the columns.
        whole: Those whose cells are never folded, however narrow the table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.MARKDOWN)
    # Names are text, not rich's markup: a run may be called "[old]".
    table.add_column(Text(headers[0]), overflow="fold")
    for header in headers[1:]:
        kept = header in whole
        least = None if kept else _LEAST_WIDTH
        table.add_column(
            Text(header), justify="right", overflow="fold", min_width=least, no_wrap=kept
        )
    return table


def _add(table: "Table", label: str, values: Sequence[float | None], style: str = "") -> None:
    cells = [_number(value) for value in values]
    if len(table.columns) > len(values) + 1:
        first, second = values
        cells.append("-" if first is None or second is None else f"{second - first:+.3f}")
    table.add_row(text_cell(label), *cells, style=style)


def text_cell(name: str) -> "Text":
    """A cell that shows a name as it is, not as rich's markup."""
    from rich.text import Text

    return Text(name)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
