"""Tables of a report, for the page, as CSV and as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import micro_ap_interval, micro_average_precision
from activeindex.evaluation.csv_rows import csv_text
from activeindex.evaluation.statistics import Interval, Values, share_of
from activeindex.evaluation.tables import PUBLISHED_EDITS, edit_label
from activeindex.report.runs import ReportedRun

_MOST_COLUMNS = 20


@dataclass(frozen=True)
class Cell:
    """A figure of a table.

    Attributes:
        value: The figure; None where the run has none.
        interval: Its 95 % interval, if it is a share.
        best: True if no run has a larger one and some run has a smaller one.
    """

    value: float | None
    interval: Interval | None = None
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """A run, or a published line.

    Attributes:
        name: Name of the run.
        place: Its place among the runs; None for a published line.
        cells: One per column.
    """

    name: str
    place: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with a line per run.

    Attributes:
        columns: Headers.
        rows: The runs, each with the published line of its setting below it.
    """

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def recall_table(runs: Sequence[ReportedRun]) -> Table | None:
    """R@1 laid out as in the paper: a line per run, a column per edit, averages last."""
    found = [(run, run.retrieval.hits) for run in runs if run.retrieval]
    if not found:
        return None
    every = list(dict.fromkeys(edit for _, hits in found for edit in hits.edits))
    edits = [edit for edit in PUBLISHED_EDITS if edit in every]
    edits += [edit for edit in every if edit not in PUBLISHED_EDITS]
    if len(edits) > _MOST_COLUMNS:
        edits = [edit for edit in edits if edit in PUBLISHED_EDITS]
    second = len(every) > len(PUBLISHED_EDITS) and {*PUBLISHED_EDITS} <= {*every}
    columns = [*map(edit_label, edits), "avg", *(["avg, paper's 14"] if second else [])]
    lines: list[TableRow] = []
    for run, hits in found:
        by_edit = dict(zip(hits.edits, hits.hits, strict=True))
        cells = [_share(by_edit.get(edit)) for edit in edits]
        cells.append(Cell(*hits.average_estimate))
        if second:
            paper = hits.select(PUBLISHED_EDITS) if _has_all(hits) else None
            cells.append(Cell(*paper.average_estimate) if paper else Cell(None))
        lines.append(TableRow(run.name, run.place, tuple(cells)))
        if run.published:
            theirs = [Cell(run.published.r_at_1.get(edit)) for edit in edits]
            # The published average is over the paper's 14 edits.
            average = Cell(run.published.average if _has_all(hits) else None)
            theirs += [Cell(None), average] if second else [average]
            lines.append(TableRow("published", None, tuple(theirs)))
    return Table(tuple(columns), tuple(_marked(lines)))


def _has_all(hits: HitTable) -> bool:
    """True if a run has the 14 edits that the published averages are over."""
    return {*PUBLISHED_EDITS} <= {*hits.edits}


def _share(hits: Values | None) -> Cell:
    share = None if hits is None else share_of(hits)
    return Cell(None) if share is None else Cell(*share)


def _marked(lines: list[TableRow]) -> list[TableRow]:
    """Mark the best of our runs in each column, if there are several and they differ."""
    ours = [line.cells for line in lines if line.place is not None]
    best = []
    for column in zip(*ours, strict=True):
        known = {cell.value for cell in column if cell.value is not None}
        best.append(max(known) if len(known) > 1 else None)
    for number, line in enumerate(lines):
        if line.place is not None:
            pairs = zip(line.cells, best, strict=True)
            cells = (
                replace(cell, best=top is not None and cell.value == top) for cell, top in pairs
            )
            lines[number] = replace(line, cells=tuple(cells))
    return lines


def recall_csv(runs: Sequence[ReportedRun]) -> str:
    """R@1 of every run and edit with its interval, the average last, as CSV text."""
    lines: list[Sequence[Any]] = [
        ("run", "attack", "attack_param", "queries", "r@1", "low", "high", "published")
    ]
    for run in runs:
        if run.retrieval is None:
            continue
        hits = run.retrieval.hits
        for edit, row in zip(hits.edits, hits.hits, strict=True):
            cell = _share(row)
            published = run.published.r_at_1.get(edit) if run.published else None
            lines.append((run.name, *edit, _known(row), *_flat(cell), published))
        same = {*hits.edits} == {*PUBLISHED_EDITS}
        averaged = [("avg", hits, same)]
        if _has_all(hits) and not same:
            averaged.append(("avg of the paper's 14", hits.select(PUBLISHED_EDITS), True))
        for name, part, theirs in averaged:
            cell = Cell(*part.average_estimate)
            published = run.published.average if run.published and theirs else None
            lines.append((run.name, name, None, _known(part.hits), *_flat(cell), published))
    return csv_text(lines)


def _known(hits: Values) -> int:
    return int(np.count_nonzero(np.isfinite(hits)))


def _flat(cell: Cell) -> tuple[float | None, ...]:
    return cell.value, *(cell.interval or (None, None))


def detection_csv(runs: Sequence[ReportedRun]) -> str:
    """µAP of every run with its interval as CSV text."""
    lines: list[Sequence[Any]] = [
        ("run", "micro_ap", "low", "high", "matching", "non_matching", "pairs", "published")
    ]
    for run in runs:
        if (found := run.detection) is not None and found.positive.any():
            published = run.published.micro_ap if run.published else None
            counts = found.matching, found.non_matching, len(found.scores)
            figures = micro_average_precision(found), *micro_ap_interval(found)
            lines.append((run.name, *figures, *counts, published))
    return csv_text(lines)


def distortion_csv(runs: Sequence[ReportedRun]) -> str:
    """PSNR, SSIM and L-infinity of every activated image as CSV text, the worst PSNR first."""
    names = ("psnr", "ssim", "linf", "distance_before", "distance_after")
    lines = [
        (run.name, record["image"], record.get("name", ""), *(record[name] for name in names))
        for run in runs
        for record in sorted(run.records, key=lambda record: float(record["psnr"]))
    ]
    return csv_text([("run", "image", "name", *names), *lines])


def times_csv(runs: Sequence[ReportedRun]) -> str:
    """Seconds and items per stage as CSV text."""
    lines: list[Sequence[Any]] = [("run", "stage", "items", "seconds", "items_per_second")]
    for run in runs:
        for stage, (seconds, items) in run.stages.items():
            rate = f"{items / seconds:.4g}" if seconds > 0 else ""
            lines.append((run.name, stage, items, f"{seconds:.3f}", rate))
    return csv_text(lines)


_ESCAPES = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "µ": r"$\mu$",
        "∞": r"$\infty$",
        "±": r"$\pm$",
        "×": r"$\times$",
    }
)


def latex_text(value: str) -> str:
    """Escape LaTeX's special characters."""
    return value.translate(_ESCAPES)


def recall_latex(table: Table, caption: str) -> str:
    """Format a table as LaTeX for ``booktabs``: the paper's layout with rotated headers."""
    heads = " & ".join(rf"\rotatebox{{90}}{{{latex_text(name)}}}" for name in table.columns)
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf" & {heads} \\",
        r"\midrule",
    ]
    for row in table.rows:
        name = latex_text(row.name)
        cells = [name if row.place is not None else rf"\emph{{{name}}}"]
        for cell in row.cells:
            shown = "--" if cell.value is None else f"{cell.value:.2f}".replace("0.", ".", 1)
            cells.append(rf"\textbf{{{shown}}}" if cell.best else shown)
        lines.append(rf"{' & '.join(cells)} \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)
