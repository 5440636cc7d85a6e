"""Tables of runs as text and CSV: recall, copy detection, and two runs compared.

Tables are rich's, in Markdown's layout so that they can be piped and pasted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.errors import InputError
from activeindex.evaluation.comparison import PairedComparison, paired_difference
from activeindex.evaluation.copy_detection import ScoredPairs, micro_average_precision
from activeindex.evaluation.csv_rows import csv_text
from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.statistics import Interval
from activeindex.evaluation.tables import (
    MEASURES,
    PUBLISHED_EDITS,
    DetectionSummary,
    Measure,
    RecallTable,
)
from activeindex.runtime.files import write_text

if TYPE_CHECKING:  # rich takes a tenth of a second to import, and only rendering needs it.
    from rich.table import Table

_WIDTH = 100
_LEAST_WIDTH = 7
_UNFOLDED = 1 << 12
_RUNS_ABREAST = 5
_LONGEST_DIFFERENCE = 24
_SIGNIFICANT = 0.05

METHODS = (
    "n: queries that both runs have, images for the average. lost:won: queries that only the first "
    "run found, and only the second. CI: 95 % interval of the difference, per edit after Bonett "
    "and Price (2012), of the average by bootstrap over images (2,000 resamples), of µAP over "
    "queries (500, beyond a million pairs 200). p: McNemar's exact test, Holm-adjusted over the "
    "edits (* below 0.05); of the average, by flipping the signs of the images' differences."
)
"""The columns of :func:`paired_table` and :func:`paired_detection`, explained."""


def recall_comparison(runs: Mapping[str, RecallTable], measure: Measure = "R@1") -> "Table":
    """One measure of several runs: a row per edit, a column per run.

    Two runs get a column with the second minus the first. The averages are over the edits that all
    runs have; where these include the published ones and more, a second average over the published
    ones can be held against the paper.

    Args:
        runs: Name and table of each run, e.g. ``{"passive": …, "active": …}``.
        measure: The measure shown.

    Raises:
        InputError: If there is no run.
    """
    tables = list(runs.values())
    if not tables:
        raise InputError("runs: expected at least one, found none")
    table = markdown_table([measure, *runs, *([_difference(runs)] if len(runs) == 2 else [])])

    def add(label: str, values: Sequence[float | None], style: str = "") -> None:
        cells = [_number(value) for value in values]
        if len(values) == 2:
            first, second = values
            cells.append("-" if first is None or second is None else f"{second - first:+.3f}")
        table.add_row(label, *cells, style=style)

    by_edit = [{row.edit: row.values[measure] for row in run.rows} for run in tables]
    for edit, label in {row.edit: row.label for run in tables for row in run.rows}.items():
        add(label, [values.get(edit) for values in by_edit])
    for label, edits in _averaged(tables):
        add(label, [run.select(edits).average.values[measure] for run in tables], style="bold")
    return table


def recall_overview(run: RecallTable) -> "Table":
    """All four measures of one run: a row per edit, then the averages."""
    table = markdown_table(["edit", "queries", *MEASURES])
    rows = [(row.label, row, "") for row in run.rows]
    rows += [(label, run.select(edits).average, "bold") for label, edits in _averaged([run])]
    for label, row, style in rows:
        figures = (f"{value:.3f}" for value in row.values.values())
        table.add_row(label, str(row.queries), *figures, style=style)
    return table


def detection_comparison(runs: Mapping[str, DetectionSummary]) -> "Table":
    """Copy detection of several runs: a row per run."""
    table = markdown_table(["copy detection", "µAP", "matching", "non-matching", "pairs"])
    for name, run in runs.items():
        counts = (run.matching, run.non_matching, run.pairs)
        table.add_row(name, _number(run.micro_ap), *(f"{count:,}" for count in counts))
    return table


def paired_table(names: tuple[str, str], comparison: PairedComparison) -> "Table":
    """R@1 of two runs per edit, their difference and its significance."""
    figures = ("n", "diff.", "95 % CI", "lost:won", "p (Holm)")
    table = markdown_table(["R@1", figures[0], *names, *figures[1:]], whole=figures)
    for row in comparison.rows:
        table.add_row(
            row.label,
            str(row.queries),
            *_paired(row.first, row.second, row.interval),
            f"{row.only_first}:{row.only_second}",
            _starred(row.p_adjusted),
        )
    mean = comparison.average
    cells = _paired(mean.first, mean.second, mean.interval)
    table.add_row("avg", str(mean.images), *cells, "", _starred(mean.p), style="bold")
    return table


def paired_detection(names: tuple[str, str], first: ScoredPairs, second: ScoredPairs) -> "Table":
    """µAP of two runs and their difference."""
    figures = ("n", "diff.", "95 % CI")
    table = markdown_table(["copy detection", figures[0], *names, *figures[1:]], whole=figures)
    values = micro_average_precision(first), micro_average_precision(second)
    cells = _paired(*values, paired_difference(first, second))
    table.add_row("µAP", str(len(second.originals)), *cells)
    return table


def recall_text(runs: Mapping[str, RecallTable], measures: Sequence[Measure] = MEASURES) -> str:
    """Recall as plain text of at most 100 columns, for files and pipes.

    One run is shown with all measures in one table; several with a table per measure, and with
    more than five of them in several tables.

    Args:
        runs: Name and table of each run.
        measures: The measures shown of several runs.

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
        width: Longest line, for which cells are folded; None for a line per row however long.
    """
    from rich.console import Console

    # Names are text, not rich's markup: a run may be called "[old]".
    console = Console(width=width or _UNFOLDED, color_system=None, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines() if line.strip())


def write_recall(path: Path, runs: Mapping[str, RecallTable]) -> None:
    """Write recall tables as CSV, whole or not at all.

    One line per run and edit, in full precision, then the run's average: ``run, attack,
    attack_param, queries, r@1, r@10, r@100, map``.
    """
    header = ("run", "attack", "attack_param", "queries", "r@1", "r@10", "r@100", "map")
    lines = [
        (name, *row.edit, row.queries, *row.values.values())
        for name, run in runs.items()
        for row in (*run.rows, run.average)
    ]
    write_text(path, csv_text([header, *lines]))


def write_detection(path: Path, runs: Mapping[str, DetectionSummary]) -> None:
    """Write copy detection as CSV, whole or not at all.

    One line per run: ``run, micro_ap, matching, non_matching, pairs``.
    """
    header = ("run", "micro_ap", "matching", "non_matching", "pairs")
    lines = [
        (name, run.micro_ap, run.matching, run.non_matching, run.pairs)
        for name, run in runs.items()
    ]
    write_text(path, csv_text([header, *lines]))


def markdown_table(headers: Sequence[str], whole: Collection[str] = ()) -> "Table":
    """An empty rich table in Markdown's layout, the first column to the left.

    Args:
        headers: The columns' headers.
        whole: Those whose cells are never folded, however narrow the table.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.MARKDOWN)
    table.add_column(headers[0], overflow="fold")
    for header in headers[1:]:
        kept = header in whole
        least = None if kept else _LEAST_WIDTH
        table.add_column(header, justify="right", overflow="fold", min_width=least, no_wrap=kept)
    return table


def _averaged(tables: Sequence[RecallTable]) -> list[tuple[str, set[EditKey]]]:
    """Labels of the averages under a table, and the edits that each is over."""
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


def _paired(first: float, second: float, interval: Interval | None) -> list[str]:
    shown = "not paired" if interval is None else f"{interval.low:+.2f} {interval.high:+.2f}"
    return [f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}", shown]


def _starred(p: float) -> str:
    """A p-value, e.g. ``"0.031 *"`` or ``"<0.0001 *"``."""
    digits = 4 if p < 0.001 else 3
    shown = "-" if math.isnan(p) else "<0.0001" if p < 0.0001 else f"{p:.{digits}f}"
    return f"{shown}{' *' if p < _SIGNIFICANT else '  '}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
