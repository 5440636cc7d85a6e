"""Write results in a format of other programs.

RESULTS is the output folder of `activeindex main` with copy detection, or a file of what
`activeindex search --json` printed. With --isc, OUT gets the predictions of the Image Similarity
Challenge 2021: query_id,reference_id,score; `activeindex evaluate --isc` computes its metrics.
"""

import argparse
from pathlib import Path

from activeindex.cli.from_settings import add_option


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "output folder of a run, or answers of search --json"
    parser.add_argument("results", type=Path, metavar="RESULTS", help=text)
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write")
    text = "predictions of the Image Similarity Challenge (CSV)"
    parser.add_argument("--isc", action="store_true", required=True, help=text)
    add_option(parser, "truth", Path, "also write the ground truth of a run here", metavar="GT")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from activeindex.errors import InputError
    from activeindex.evaluation import isc
    from activeindex.evaluation.csv_files import read_detection
    from activeindex.experiment.folder import DETECTION_FILE, RunFolder
    from activeindex.runtime.reporting import counted

    if args.results.is_dir():
        folder = RunFolder.open(args.results)
        rows = read_detection(folder.path / DETECTION_FILE)
        predictions, truth = isc.detected(rows, folder.metric)
        if args.truth is not None:
            isc.write_truth(args.truth, truth)
    elif args.truth is not None:
        raise InputError("truth: expected the folder of a run with it, found answers")
    else:
        predictions = isc.answered(args.results)
    count = isc.write_predictions(args.out, predictions)
    print(f"{args.out}: {counted(count, 'prediction')}")
