"""Find images in a store of released images.

Prints the nearest images of the store for each query, over all its quantisers. Distances are to
the reconstruction of a stored image's code, or to its own feature with --refine. They are squared
Euclidean (activation.jsonl has Euclidean ones), or inner products with an IP index. IMAGES are
files or folders.
"""

import argparse
import json
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.experiment.settings import IndexSettings
from activeindex.runtime.reporting import SILENT, counted
from activeindex.stores.address import Address


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
    parser.add_argument("--json", action="store_true", help="print a line of JSON per query")
    add_option(parser, "batch_size", int, "images extracted together", 64, minimum=1)
    options.add_unreadable(parser, "skip")
    options.add_groups(parser, "extractor", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    Address.parse(args.store).check_there()  # A missing store is named before the slow imports.
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
        names = ("k", "effort", "nprobe", "refine", "where", "batch_size", "unreadable")
        given = {name: getattr(args, name) for name in names}
        skipped = []
        with options.naming_unreadable():
            for result in search_files(store, extractor, files, workers=workers, **given):
                print(json.dumps(result.as_json()) if args.json else result, flush=True)
                if result.unreadable is not None:
                    skipped.append(result.unreadable)
    options.check_skipped(skipped, len(files) - len(skipped))
