"""The paired comparison of two runs as text."""

from typing import TYPE_CHECKING

from activeindex.evaluation.comparison import PairedComparison, shown_p
from activeindex.evaluation.detection_intervals import RankedPairs, paired_difference
from activeindex.evaluation.intervals import Interval
from activeindex.evaluation.rendering import markdown_table, text_cell

if TYPE_CHECKING:
    from rich.table import Table

METHODS = (
    "n: queries that both runs have, images for the average. lost:won: queries that only the first "
    "run found, and only the second. CI: 95 % interval of the difference, per edit after Bonett "
    "and Price (2012), of the average by bootstrap over images (2,000 resamples), of µAP over "
    "queries (500, beyond a million pairs 200). p: McNemar's exact test, Holm-adjusted over the "
    "edits (* below 0.05); of the average, by flipping the signs of the images' differences."
)
"""What the columns of a comparison are."""

_SIGNIFICANT = 0.05


def paired_table(names: tuple[str, str], comparison: PairedComparison) -> "Table":
    """R@1 of two runs per edit, their difference and its significance; a rich table."""
    figures = ("n", "diff.", "95 % CI", "lost:won", "p (Holm)")
    table = markdown_table(["R@1", figures[0], *names, *figures[1:]], whole=figures)
    for row in comparison.rows:
        table.add_row(
            text_cell(row.label),
            str(row.queries),
            *_figures(row.first, row.second, row.interval),
            f"{row.only_first}:{row.only_second}",
            _starred(row.p_adjusted),
        )
    mean = comparison.average
    cells = _figures(mean.first, mean.second, mean.interval)
    table.add_row("avg", str(mean.images), *cells, "", _starred(mean.p), style="bold")
    return table


def paired_detection(names: tuple[str, str], first: RankedPairs, second: RankedPairs) -> "Table":
    """µAP of two runs and their difference; a rich table."""
    figures = ("n", "diff.", "95 % CI")
    table = markdown_table(["copy detection", figures[0], *names, *figures[1:]], whole=figures)
    interval = paired_difference(first, second)
    queries = str(len(second.originals))
    table.add_row("µAP", queries, *_figures(first.micro_ap(), second.micro_ap(), interval))
    return table


def _figures(first: float, second: float, interval: Interval | None) -> list[str]:
    shown = "not paired" if interval is None else f"{interval.low:+.2f} {interval.high:+.2f}"
    return [f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}", shown]


def _starred(p: float) -> str:
    return f"{shown_p(p)}{' *' if p < _SIGNIFICANT else '  '}"
