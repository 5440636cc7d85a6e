"""Calibrate a store, so that a search says whether a hit is a copy.

BACKGROUND is a folder of pictures like those that will be searched for, none of them a copy of a
stored one; a thousand are enough. How near their edited copies come to the codes of other
background pictures tells how many false matches a hit at a given distance stands for.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "lance://PATH or faiss:PATH"
    parser.add_argument("store", metavar="STORE", help=text)
    add_option(parser, "background", Path, "folder of background pictures", required=True)
    add_option(parser, "edits", int, "edited copies of each picture", 10, minimum=1)
    add_option(parser, "seed", int, "of the edits and the draws", 0, minimum=0)
    options.add_groups(parser, "extractor", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_folders(args, "background")
    from activeindex.runtime.pool import LocalEngine
    from activeindex.runtime.reporting import counted, listed
    from activeindex.stores.calibrate import calibrate_store
    from activeindex.stores.store import Store

    reporter = options.chosen_reporter(args)
    with Store(args.store) as store, LocalEngine(args.workers) as workers:
        extractor = options.chosen_extractor(args, reporter)
        made = calibrate_store(
            store,
            args.background,
            extractor,
            edits=args.edits,
            seed=args.seed,
            workers=workers,
            reporter=reporter,
        )
        if names := made.overlapping:
            count = counted(len(names), "background picture")
            reporter.line(f"{count} left out, as copies of stored ones: {listed(names)}")
        for calibration in made.calibrations:
            reporter.line(f"{args.store}: calibrated {calibration.quantiser}")
            reporter.line(f"  {calibration.claim()}")
