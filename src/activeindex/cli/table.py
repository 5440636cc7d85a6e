"""Show the result tables of finished runs side by side.

Give one or more output folders of `activeindex main` or `activeindex evaluate` (or of the paper's
released program): recall per edit and on average, copy detection, and the distortion of the images.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "output folder of a run, or NAME=FOLDER"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=text)
    parser.add_argument("--csv", type=Path, help="also write recall.csv and detection.csv here")
    add_settings(parser, options.RunOptions, "debug")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    folders = options.named_runs(args.runs)
    from activeindex.evaluation.rendering import write_detection, write_recall
    from activeindex.experiment.folder import RunSummary, tables_of

    summaries = {name: RunSummary.read(path) for name, path in folders.items()}
    print(tables_of(summaries))
    if args.csv is not None:
        recall = {name: run.recall for name, run in summaries.items() if run.recall}
        detection = {name: run.detection for name, run in summaries.items() if run.detection}
        write_recall(args.csv / "recall.csv", recall)
        write_detection(args.csv / "detection.csv", detection)
