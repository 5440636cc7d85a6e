"""Compare two runs over the same images: paired differences per edit, with a test.

Give two output folders of `activeindex main` or `activeindex evaluate` (or of the paper's released
program). Every query of the one is compared with the same query of the other.
"""

import argparse
import sys
import textwrap
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("first", type=Path, metavar="A", help="output folder, or NAME=FOLDER")
    parser.add_argument("second", type=Path, metavar="B", help="the run that is compared with it")
    add_settings(parser, options.RunOptions, "debug")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    folders = options.named_runs([args.first, args.second])
    from activeindex.evaluation.comparison import PairedComparison
    from activeindex.evaluation.rendering import METHODS, paired_detection, paired_table, plain_text
    from activeindex.experiment.folder import RunFolder

    first, second = folders
    runs = [RunFolder.open(folder) for folder in folders.values()]
    width = 100 if sys.stdout.isatty() else None  # Programs want their rows whole.
    tables = []
    if all(run.has_retrieval for run in runs):
        comparison = PairedComparison.between(*(run.hit_table() for run in runs))
        tables.append(paired_table((first, second), comparison))
    if all(run.has_detection for run in runs):
        tables.append(paired_detection((first, second), *(run.ranked_pairs() for run in runs)))
    parts = [plain_text(table, width) for table in tables]
    print("\n".join(parts or ["nothing to compare: no results file is in both runs\n"]))
    print("\n".join(textwrap.wrap(METHODS, 100)))
