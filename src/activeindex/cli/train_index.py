"""Train an index and keep it as a folder from which images can be activated.

Writes OUT/index.faiss, which holds no features, and OUT/manifest.json: factory string, metric,
dimension, extractor, hash of the training features, versions of the libraries. Nothing else is
needed to activate images against it, on any machine (`activeindex activate --index OUT`).

--idx_factory NAP16,IVF4096,PQ8x8 first projects out the 16 directions in which edits move features
most. They are estimated from --fts_edited_path: features of the training images by extract_fts
--edit_seed, for one seed or several.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_settings
from activeindex.experiment.settings import IndexSettings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the trained index")
    names = ("fts_training_path", "fts_edited_path", "idx_factory", "quant", "polysemous")
    add_settings(parser, IndexSettings, *names)
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_files(args, "fts_training_path", "fts_edited_path")
    from activeindex.extractors.feature_files import read_copies, read_features
    from activeindex.indexing.artefact import load_or_train
    from activeindex.indexing.training import few_features

    reporter = options.chosen_reporter(args)
    features = read_features(args.fts_training_path, "fts_training_path")
    edited = read_copies(args.fts_edited_path, features)
    there = args.out.exists()
    if not there:
        reporter.line(f"training {args.idx_factory} on {len(features.values)} features")
    index = load_or_train(
        args.out,
        features,
        args.idx_factory,
        args.quant,
        edited,
        polysemous=args.polysemous,
        reporter=reporter,
    )
    reporter.line(f"{args.out}: {index.identity}, {index.quantiser.code_size} bytes per feature")
    if there:
        reporter.line("was trained before; nothing changed")
        return
    count = len(features.values)
    if few := few_features(count, index.index):
        reporter.line(f"warning: {few}")
    reporter.line(f"trained on {count} features in {reporter.seconds:.1f} s")
