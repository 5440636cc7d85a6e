"""Activate a folder of images against an index, before their release.

Every image below FOLDER is written to OUT under the same name, as PNG unless --format says
otherwise, with its transparency, EXIF and ICC profile. OUT/activation.jsonl has a line for each:
PSNR, SSIM and L-infinity of the file, whether it keeps the budget of --psnr, --ssim and --linf, the
code that the index stores, the distance of the feature from its target before and after, and the
settings. OUT/fts.pt, with names in OUT/filenames.txt, has the features whose codes the index must
hold: `activeindex store add STORE OUT` adds them.

The index is the one of the package, or the folder that `activeindex train_index` writes, or the
file that `activeindex main` leaves in its idx_dir. Several --index options activate the images
for several indexes of one extractor at once. The same command continues a killed run.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.experiment.settings import IndexSettings
from activeindex.images.folder import check_images, check_outside
from activeindex.runtime.files import check_there
from activeindex.runtime.reporting import counted

_SHOWN_WARNINGS = 10

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="images to be released")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the activated images")
    text = "trained index, folder or file (default: the package's); several times for several"
    parser.add_argument("--index", type=Path, default=[], action="append", help=text)
    add_option(parser, "seed", int, "seed of the noise at the start", 0, minimum=0)
    options.add_unreadable(parser)
    add_settings(parser, IndexSettings, "force")
    options.add_activation(parser, "thorough")
    options.add_groups(parser, "extractor", "engine", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_images(args.folder, "FOLDER")
    check_outside(args.out, args.folder)
    for path in args.index:
        check_there(path, "index", "a trained index, folder or file")
    from activeindex.activation.folder import activate_folder
    from activeindex.experiment.folder import Distortion
    from activeindex.indexing.artefact import TrainedIndex
    from activeindex.indexing.packaged import default_index

    reporter = options.chosen_reporter(args)
    workers = options.chosen_engine(args, reporter)
    preset = options.chosen_preset(args)
    indexes = [TrainedIndex.read(path) for path in args.index]
    extractor = options.chosen_extractor(args, reporter)
    indexes = indexes or [default_index(extractor.identity)]
    if not args.force:
        for index in indexes:
            index.check_extractor(extractor.identity, extractor.dimension)
    names = " and ".join(str(index.identity) for index in indexes)
    met = f"index {names}, extractor {extractor.identity}"
    options.report_images(args.folder, "FOLDER", met, reporter)
    with options.naming_unreadable(), workers:
        done = activate_folder(
            args.folder,
            args.out,
            [index.quantiser for index in indexes],
            extractor,
            preset=preset,
            seed=args.seed,
            force=args.force,
            workers=workers,
            unreadable=args.unreadable,
            reporter=reporter,
        )
    for line in done.skipped:
        reporter.line(f"skipped {line}")
    for line in done.warnings[:_SHOWN_WARNINGS]:
        reporter.line(f"warning: {line}")
    if more := len(done.warnings[_SHOWN_WARNINGS:]):
        reporter.line(f"warning: and {counted(more, 'image')} more; {done.records} has them all")
    said = counted(done.count, "activated image")
    if done.count:
        distortion = Distortion.read(done.records)
        reporter.line(distortion)
        why = "the budget is too tight" if preset.settings.iterations else "no iterations"
        encoded, unchanged = distortion.only_encoded, distortion.unchanged
        if encoded or unchanged:
            said = f"{counted(done.count, 'image')}, {done.count - encoded - unchanged} activated"
            said += f", {encoded} only encoded" if encoded else ""
            said += f", {unchanged} unchanged ({why})" if unchanged else ""
    if done.before:
        said += f", {'all' if done.before == done.count else done.before} of them before"
    comma = "," if ", " in said else ""
    reporter.line(f"{args.out}: {said}{comma} in {reporter.seconds:.1f} s")
    if (views := preset.settings.descriptor_views) and done.features:
        reporter.line(
            f"the index must hold the features in {done.features}, of {views} views of each image"
        )
    options.check_skipped(done.skipped, done.count)
