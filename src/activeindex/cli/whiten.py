"""Fit a whitening on training features, to put behind the extractor that they come from.

Features are centred, projected on their principal directions, scaled to unit variance there and to
unit length. Give OUT to every later command with --whitening; the whitened extractor is another
one than the bare one, so the features are extracted again with it.
"""

import argparse
from pathlib import Path

from activeindex.cli.options import add_features, add_saying, chosen_reporter, whole
from activeindex.runtime.files import check_file


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write, .npz")
    add_features(parser, "fts_training_path", "to train on")
    parser.add_argument(
        "--dimension", type=whole(1), metavar="K", help="directions that are kept; all by default"
    )
    add_saying(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    check_file(options.fts_training_path, "fts_training_path")
    from activeindex.extractors.feature_files import read_features
    from activeindex.extractors.whitening import Whitening

    reporter = chosen_reporter(options)
    features = read_features(options.fts_training_path, "fts_training_path")
    whitening = Whitening.fit(
        features.values,
        options.dimension,
        extractor=features.extractor or "",
        training_sha256=features.hash(),
    )
    whitening.write(options.out)
    kept, width = whitening.matrix.shape
    reporter.line(
        f"{options.out}: {width} to {kept} dimensions, fitted on {len(features.values)} features "
        f"of {features.extractor or 'an unknown extractor'}"
    )
