"""Write a report of finished runs: one HTML file, and its tables as CSV and LaTeX.

Give one or more output folders of `activeindex main` (or of the released program): passive and
active, several indexes, several settings. Everything is computed from the files in them. The page
needs no network and opens from disk.
"""

import argparse
from pathlib import Path

from activeindex.cli.options import add_saying, chosen_reporter, existing, whole
from activeindex.cli.runs import named_runs


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="output folder of a run, or NAME=FOLDER"
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("report"), help="report.html and the tables"
    )
    parser.add_argument("--title", default="Active image indexing", help="the page's heading")
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="the originals, where the runs do not say or they have been moved",
    )
    parser.add_argument("--references_dir", type=Path, help="the reference images, likewise")
    parser.add_argument(
        "--gallery",
        type=whole(0),
        default=12,
        metavar="N",
        help="activated images at 1:1, worst first",
    )
    parser.add_argument(
        "--failures",
        type=whole(0),
        default=12,
        metavar="N",
        help="missed queries shown of each run",
    )
    add_saying(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    folders = named_runs(options.runs)
    for name in ("data_dir", "references_dir"):
        if getattr(options, name) is not None:
            existing(getattr(options, name), name)
    from activeindex.report.page import SECTIONS, ReportOptions, write_report

    reporter = chosen_reporter(options)
    shown = ReportOptions(
        options.title,
        options.data_dir,
        options.references_dir,
        options.gallery,
        options.failures,
    )
    with reporter.stage("report", SECTIONS) as progress:
        path = write_report(folders, options.output_dir, shown, progress)
    size = path.stat().st_size / 1e6
    names = ", ".join(folders)
    reporter.line(f"{path}: report of {names}, {size:.1f} MB, after {reporter.seconds:.0f} s")
