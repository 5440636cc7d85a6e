"""Learning curves of a log: ``python -m training.curves RUN/log.jsonl``."""

import sys
from pathlib import Path

import numpy as np

from activeindex.report.charts.curves import Series, line_chart
from activeindex.runtime.files import write_text
from training.log import Log

_CURVES = (
    ("recall", "validation R@1", True),
    ("loss", "loss", False),
    ("contrast", "contrast", False),
    ("entropy", "entropy", False),
    ("rate", "learning rate", False),
    ("resolution", "resolution (px)", False),
)
_WIDTH, _HEIGHT, _COLUMNS = 380, 250, 3
_STYLE = """svg { font-family: sans-serif; background: #fff; }
text { font-size: 10px; fill: #333; } .grid { stroke: #ddd; } .axis { stroke: #888; }
.line { fill: none; stroke: #2a6cb0; stroke-width: 1.5; } .mark { fill: #2a6cb0; }"""


def draw_curves(log: Path, out: Path) -> None:
    """Draw a log as a self-contained SVG."""
    records = Log(log).records()
    parts = []
    for place, (key, name, share) in enumerate(_CURVES):
        found = [(record["step"], record[key]) for record in records if key in record]
        if not found:
            continue
        x, y = np.array(found, dtype=np.float64).T
        low, high = float(y.min()), float(y.max())
        pad = 0.05 * (high - low) or 0.5
        chart = line_chart(
            [Series(name, 0, x, y)],
            "step",
            name,
            f"{name} over the steps of the training",
            y_range=(0.0, 1.0) if share else (low - pad, high + pad),
            marks=share,
        )
        left, top = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT
        at = f'<svg x="{left}" y="{top}" width="{_WIDTH - 20}" height="{_HEIGHT - 10}" '
        parts.append(str(chart).replace("<svg ", at, 1))
    rows = -(-len(_CURVES) // _COLUMNS)
    size = f"0 0 {_WIDTH * _COLUMNS} {_HEIGHT * rows}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"><style>{_STYLE}</style>'
    write_text(out, f"{head}{''.join(parts)}</svg>\n")


if __name__ == "__main__":
    draw_curves(Path(sys.argv[1]), Path(sys.argv[1]).with_name("curves.svg"))
