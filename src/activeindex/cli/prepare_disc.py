"""Split a DISC21 folder into the parts of the experiment.

Makes folders of symbolic links: references_10k (references that the ground truth names as a
match), references_990k (the others) and queries_40k (training images, drawn with the seed, as
queries without a match). No image is copied or changed.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option
from activeindex.runtime.reporting import counted


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    data = parser.add_mutually_exclusive_group(required=True)
    text = "folder with train/, references/ and dev_queries_groundtruth.csv"
    add_option(data, "data_path", Path, text)
    add_option(data, "data_dir", Path, "the same, spelled as in other commands")
    text = "folder of the folders of links (default: the data folder)"
    add_option(parser, "output_dir", Path, text)
    add_option(parser, "num_queries", int, "queries without a match to draw", 40_000, minimum=0)
    add_option(parser, "seed", int, "seed of the draw of training images", 0, minimum=0)
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_folders(args, "data_path", "data_dir")
    data = args.data_path or args.data_dir
    from activeindex.datasets.disc import prepare_disc

    reporter = options.chosen_reporter(args)
    output_dir = args.output_dir or data
    prepared = prepare_disc(
        data, output_dir, queries=args.num_queries, seed=args.seed, reporter=reporter
    )
    for folder in prepared:
        reporter.line(f"{folder.path}: {counted(folder.count, 'image')}")
