"""Split a DISC21 folder into the parts of the experiment.

Makes folders of symbolic links: references_10k (references that the ground truth names as a
match), references_990k (the others) and queries_40k (training images, drawn with the seed, as
queries without a match). No image is copied or changed.
"""

import argparse
from pathlib import Path

from activeindex.cli.options import add_saying, chosen_reporter, existing, whole
from activeindex.runtime.reporting import counted


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--data_path",
        type=Path,
        help="folder with train/, references/ and dev_queries_groundtruth.csv",
    )
    data.add_argument("--data_dir", type=Path, help="the same, spelled as in other commands")
    parser.add_argument(
        "--output_dir", type=Path, help="where the folders of links go (default: the data folder)"
    )
    parser.add_argument(
        "--num_queries", type=whole(0), default=40_000, help="queries without a match to draw"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="which training images are drawn")
    add_saying(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    name = "data_dir" if options.data_path is None else "data_path"
    data = existing(getattr(options, name), name)
    from activeindex.datasets.disc import prepare_disc

    reporter = chosen_reporter(options)
    with reporter.stage("links", None) as progress:
        prepared = prepare_disc(
            data,
            options.output_dir or data,
            queries=options.num_queries,
            seed=options.seed,
            progress=progress,
        )
    for folder in prepared.folders:
        reporter.line(f"{folder.path}: {counted(folder.count, 'image')}")
