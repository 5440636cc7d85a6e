"""Write a report of finished runs: one HTML file, and its tables as CSV and LaTeX.

Give one or more output folders of `activeindex main` (or of the paper's released program): passive
and active, several indexes, several settings. The page is computed from their files alone; it needs
no network and opens from disk.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "output folder of a run, or NAME=FOLDER"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=text)
    add_option(parser, "output_dir", Path, "folder of report.html and its tables", Path("report"))
    add_option(parser, "title", str, "heading of the page", "Active image indexing")
    text = "folder of the originals, where the runs do not name it or it has been moved"
    add_option(parser, "data_dir", Path, text)
    add_option(parser, "references_dir", Path, "folder of the reference images, likewise")
    text = "activated images at 1:1, worst first"
    add_option(parser, "gallery", int, text, 12, minimum=0, metavar="N")
    text = "missed queries shown of each run"
    add_option(parser, "failures", int, text, 12, minimum=0, metavar="N")
    add_settings(parser, options.RunOptions, "max_pixels")
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    folders = options.named_runs(args.runs)
    options.check_folders(args, "data_dir", "references_dir")
    from activeindex.report.page import ReportOptions, write_report

    reporter = options.chosen_reporter(args)
    shown = ReportOptions(
        args.title, args.data_dir, args.references_dir, args.gallery, args.failures
    )
    path = write_report(folders, args.output_dir, shown, reporter)
    size = path.stat().st_size / 1e6
    names = ", ".join(folders)
    reporter.line(f"{path}: report of {names}, {size:.1f} MB, after {reporter.seconds:.0f} s")
