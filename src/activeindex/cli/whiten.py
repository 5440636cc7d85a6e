"""Fit a whitening on training features, to apply after their extractor.

Features are centred, projected on their principal directions, scaled to unit variance there and to
unit length. Give OUT to every later command with --whitening; the whitened extractor is another
one than the bare one, so the features are extracted again with it.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.experiment.settings import IndexSettings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write, .npz")
    add_settings(parser, IndexSettings, "fts_training_path")
    text = "principal directions that are kept; all by default"
    add_option(parser, "dimension", int, text, minimum=1, metavar="K")
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_files(args, "fts_training_path")
    from activeindex.extractors.feature_files import read_features
    from activeindex.extractors.whitening import Whitening

    reporter = options.chosen_reporter(args)
    features = read_features(args.fts_training_path, "fts_training_path")
    whitening = Whitening.fit(
        features.values,
        args.dimension,
        extractor=features.extractor,
        training_sha256=features.hash(),
    )
    whitening.write(args.out)
    kept, width = whitening.matrix.shape
    reporter.line(
        f"{args.out}: {width} to {kept} dimensions, fitted on {len(features.values)} features "
        f"of {features.extractor or 'an unknown extractor'}"
    )
