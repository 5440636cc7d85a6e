"""Find images in a store of released images.

Prints the nearest images of the store for each query, over all its quantisers. Distances are to
the reconstruction of a stored image's code, or to its own feature with --refine. They are squared
Euclidean (activation.jsonl has Euclidean ones), or inner products with an IP index. IMAGES are
files or folders.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.decisions.decision import MATCH, REVIEW
from activeindex.experiment.settings import IndexSettings
from activeindex.runtime.files import check_file
from activeindex.runtime.reporting import SILENT, counted
from activeindex.stores.address import Address

if TYPE_CHECKING:
    from activeindex.stores.store import Store


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="images to look for")
    add_option(parser, "store", str, "lance://PATH or faiss:PATH", required=True)
    text = "refuse a store that has no generation searched through this quantiser"
    add_option(parser, "index", Path, text)
    add_option(parser, "k", int, "images shown per query", 10, minimum=1)
    text = "codes that are compared, about: the nearest inverted lists, all of a smaller store"
    add_option(parser, "effort", int, text, 20_000, minimum=1, metavar="CODES")
    text = "inverted lists that are visited, instead of --effort"
    add_option(parser, "nprobe", int, text, minimum=1)
    add_settings(parser, IndexSettings, "force")
    text = "order the R * k nearest codes by raw features; 0 orders by codes"
    add_option(parser, "refine", int, text, 0, minimum=0, metavar="R")
    text = "search images that match, e.g. \"name LIKE 'a/%%' AND psnr > 40\"; see docs/stores.md"
    add_option(parser, "where", str, text, metavar="FILTER")
    text = "expected false matches per query up to which a hit is a copy"
    add_option(parser, "match", float, text, MATCH, metavar="E")
    text = "expected false matches per query up to which a hit is worth a look"
    add_option(parser, "review", float, text, REVIEW, metavar="E")
    parser.add_argument("--json", action="store_true", help="print a line of JSON per query")
    add_option(parser, "batch_size", int, "images extracted together", 64, minimum=1)
    options.add_unreadable(parser, "skip")
    options.add_groups(parser, "extractor", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    # What is missing is named before the slow imports.
    Address.parse(args.store).check_there()
    for path in args.images:
        if not path.is_dir():
            check_file(path, "IMAGES")
    from activeindex.runtime.pool import LocalEngine
    from activeindex.stores.query import query_files, search_files
    from activeindex.stores.store import Store

    reporter = SILENT if args.json else options.chosen_reporter(args)
    files = query_files(args.images)
    with Store(args.store) as store, LocalEngine(args.workers) as workers:
        if args.index is not None and not args.force:
            store.generation_of(args.index)
        if args.where is not None:
            store.parse(args.where)
        extractor = options.chosen_extractor(args, reporter)
        if not args.force:
            store.check_extractor(extractor.identity, extractor.dimension)
        count = counted(store.count(), "image")
        visit = store.visit(args.effort, args.nprobe)
        reporter.line(f"{args.store}: {count}; extractor {extractor.identity}; {visit}")
        for calibration in store.calibrations().values():
            reporter.line(f"decisions rest on {calibration.background.source}")
        if warning := _warning(store, args.store):
            print(f"activeindex search: {warning}", file=sys.stderr)
        names = ["k", "effort", "nprobe", "refine", "where", "match", "review"]
        names += ["batch_size", "unreadable"]
        given = {name: getattr(args, name) for name in names}
        skipped = []
        with options.naming_unreadable():
            for result in search_files(store, extractor, files, workers=workers, **given):
                print(json.dumps(result.as_json()) if args.json else result, flush=True)
                if result.unreadable is not None:
                    skipped.append(result.unreadable)
    options.check_skipped(skipped, len(files) - len(skipped))


def _warning(store: "Store", address: str) -> str | None:
    """Why decisions are missing, or are not to be relied on; None if neither."""
    images, calibrations = store.count(), store.calibrations()
    if len(calibrations) < len(store.generations):
        return (
            f"{address} is not calibrated, so nothing says whether a hit is a copy: "
            f"activeindex calibrate {address} --background FOLDER"
        )
    for calibration in calibrations.values():
        if not calibration.fits(images):
            made = calibration.background.stored
            return f"{address} has {images:,} images, calibrated with {made:,}: calibrate again"
    return None
