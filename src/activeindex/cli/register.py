"""Register a folder of pictures: activate them, and add them to a store that finds their copies.

Every picture below PICTURES is activated and written to --released, for you to publish, and the
store keeps what `activeindex search` needs; it is made where there is none. With --untouched the
pictures stay as they are: take it for those that have been published already.

Give the same command again for pictures that are new in the folder, and after an interruption. A
picture whose name the store has for another file is left out, and so is one that cannot be read.
"""

import argparse
from pathlib import Path

from activeindex.activation.settings import DESCRIPTOR_VIEWS
from activeindex.cli import options
from activeindex.cli.from_settings import add_option
from activeindex.runtime.files import check_folder

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    text = "folder of pictures"
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help=text)
    text = "lance://PATH or faiss:PATH; a new path alone is faiss:PATH"
    add_option(parser, "store", str, text, required=True)
    text = "folder of the activated pictures (default: PICTURES_released, beside PICTURES)"
    add_option(parser, "released", Path, text, metavar="FOLDER")
    parser.add_argument("--untouched", action="store_true", help="add the pictures as they are")
    add_option(parser, "index", Path, "trained index (default: the store's, or the package's)")
    text = "codes that lead to a picture, 3 at most: those beyond the first are of edited views"
    add_option(parser, "codes", int, text, 1, minimum=1)
    add_option(parser, "seed", int, "seed of the noise at the start", 0, minimum=0)
    options.add_activation(parser, "thorough", DESCRIPTOR_VIEWS)
    options.add_groups(parser, "extractor", "engine", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_folder(args.pictures, "PICTURES")
    from activeindex.stores.register import register

    if args.descriptor_views is None:
        args.descriptor_views = DESCRIPTOR_VIEWS
    reporter = options.chosen_reporter(args)
    workers = options.chosen_engine(args, reporter)
    preset = options.chosen_preset(args)
    extractor = options.chosen_extractor(args, reporter)
    options.report_images(args.pictures, "PICTURES", f"extractor {extractor.identity}", reporter)
    names = ("released", "index", "untouched", "codes", "seed")
    given = {name: getattr(args, name) for name in names}
    with workers:
        done = register(
            args.pictures,
            args.store,
            extractor=extractor,
            preset=preset,
            workers=workers,
            reporter=reporter,
            **given,
        )
    for line in done.warnings:
        reporter.line(f"warning: {line}")
    reporter.line(f"{args.store}: {done}, in {reporter.seconds:.1f} s")
    if done.released is not None and done.released.is_dir():
        reporter.line(f"publish the pictures in {done.released}")
    reporter.line(f"find their copies: activeindex search --store {args.store} SUSPECTS")
    options.check_skipped(done.left_out, done.count + done.before)
