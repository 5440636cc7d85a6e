"""Copy a store, and what its service keeps, to a new folder.

The service may run meanwhile. `activeindex restore` makes a store of the copy.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.stores.address import Address


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("store", metavar="STORE", help="lance://PATH or faiss:PATH")
    parser.add_argument("backup", type=Path, metavar="BACKUP", help="new folder of the copy")
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    Address.parse(args.store).check_there()
    from activeindex.service.backup import back_up

    back_up(args.store, args.backup)
    reporter = options.chosen_reporter(args)
    reporter.line(f"{args.backup}: a copy of {args.store}, in {reporter.seconds:.1f} s")
