"""Make a store of a copy of `activeindex backup`, after a check of every byte of it."""

import argparse
from pathlib import Path

from activeindex.cli import options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("backup", type=Path, metavar="BACKUP", help="folder of the copy")
    parser.add_argument("store", metavar="STORE", help="folder of the new store")
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from activeindex.service.backup import restore

    reporter = options.chosen_reporter(args)
    restore(args.backup, args.store, reporter)
    reporter.line(f"{args.store}: restored from {args.backup}")
