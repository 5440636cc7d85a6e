"""Evaluate released pictures: how often the index finds their edited copies.

ORIGINALS and RELEASED are folders; pictures are paired by their names, or in sorted order where no
names agree. The pictures may have been activated by this program or by any other. With ORIGINALS
given twice the result is that of passive pictures.

With --isc, ORIGINALS is the ground truth of the Image Similarity Challenge and RELEASED anybody's
predictions, both CSV; the metrics are the challenge's: µAP, recall at a precision of 90 %, recall
at ranks 1 and 10.
"""

import argparse
import json
from pathlib import Path

from activeindex.activation.settings import ActivationSettings
from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings
from activeindex.runtime.reporting import SILENT


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("originals", type=Path, metavar="ORIGINALS", help="the original pictures")
    parser.add_argument("released", type=Path, metavar="RELEASED", help="the released pictures")
    text = (
        "evaluate the predictions RELEASED (query_id,reference_id,score) against the ground truth"
    )
    parser.add_argument("--isc", action="store_true", help=f"{text} ORIGINALS")
    text = "trained index: a folder, or a FAISS file (default: the package's)"
    add_option(parser, "index", Path, text)
    text = "features of other images in the index (.pt, .pth, .npy), or their folder"
    add_option(parser, "fts_reference_path", Path, text, metavar="FTS")
    add_settings(parser, IndexSettings, "nprobe", "search_params", "force")
    add_settings(parser, EvaluationSettings, "kneighbors")
    text = "edits instead of the paper's: hflip, 'jpeg 50', or a function, package.module:name"
    add_option(parser, "edits", tuple[str, ...], text, (), metavar="EDIT", importable=True)
    add_settings(parser, ActivationSettings, "descriptor_views")
    add_settings(parser, ExperimentSettings, "seed")
    add_option(parser, "output_dir", Path, "files of a run, for table, compare and report")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options.add_groups(parser, "extractor", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.isc:
        from activeindex.evaluation import isc

        truth = isc.read_truth(args.originals)
        metrics = isc.evaluate_predictions(isc.read_predictions(args.released), truth)
        print(json.dumps(metrics.as_json()) if args.json else metrics)
        return
    options.check_folders(args, "originals", "released", images=True)
    from activeindex.edits.lists import FIXED_LIST
    from activeindex.experiment.evaluate import evaluate

    reporter = SILENT if args.json else options.chosen_reporter(args)
    names = ("kneighbors", "nprobe", "search_params", "descriptor_views", "seed", "force")
    given = {name: getattr(args, name) for name in (*names, "output_dir")}
    with options.local_engine(args) as workers:
        result = evaluate(
            args.originals,
            args.released,
            index=args.index,
            extractor=options.chosen_extractor(args, reporter),
            references=args.fts_reference_path,
            edits=args.edits or FIXED_LIST,
            workers=workers,
            reporter=reporter,
            command=args.command_line,
            **given,
        )
    print(json.dumps(result.as_json()) if args.json else result)
