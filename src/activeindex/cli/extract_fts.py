"""Extract the features of every image below a folder.

Writes fts.pt (or .pth, .npy), filenames.txt with the name of each row, and fts.json, a note of the
extractor that later commands check. Features stream to the disk; a killed run goes on where it was
when the same command is given again.
"""

import argparse
from pathlib import Path

from activeindex.cli.engine_options import add_engine_options, chosen_workers
from activeindex.cli.extractor_options import add_extractor_options, chosen_extractor
from activeindex.cli.from_settings import add_option
from activeindex.cli.options import (
    add_run_options,
    add_unreadable,
    check_folders,
    chosen_reporter,
    naming_unreadable,
    report_other_files,
)
from activeindex.runtime.reporting import counted

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_option(parser, "data_dir", Path, "folder of images", required=True)
    add_option(parser, "output_dir", Path, "folder of the features", required=True)
    add_option(parser, "batch_size", int, "images extracted together", 256, minimum=1)
    add_option(
        parser, "format", str, "format of the feature file", "pt", choices=("pt", "pth", "npy")
    )
    add_unreadable(parser)
    add_option(
        parser,
        "decode",
        str,
        "decode JPEGs in full, or large ones only as far as the extractor's input needs: several "
        "times faster, nearly the same features",
        "exact",
        choices=("exact", "scaled"),
    )
    add_option(
        parser,
        "descriptor_views",
        int,
        "average each feature with those of so many edited views, 16 at most: for originals that "
        "are activated with the same --descriptor_views (docs/presets.md)",
        0,
        minimum=0,
    )
    add_option(
        parser,
        "edit_seed",
        int,
        "extract the features of edited copies instead, one edit at random for each image: for "
        "--fts_edited_path (docs/indexes.md)",
        minimum=0,
        metavar="SEED",
    )
    add_extractor_options(parser)
    add_engine_options(parser)
    add_run_options(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    check_folders(options, "data_dir")
    from activeindex.edits.differentiable import check_fixed_views
    from activeindex.extractors.features import extract_folder
    from activeindex.images.folder import list_images

    check_fixed_views("descriptor_views", options.descriptor_views)
    reporter = chosen_reporter(options)
    workers = chosen_workers(options, reporter)
    extractor = chosen_extractor(options, reporter)
    total = len(list_images(options.data_dir))
    reporter.line(f"{counted(total, 'image')}, extractor {extractor.identity}")
    report_other_files(options.data_dir, reporter)
    with naming_unreadable(), workers, reporter.stage("features", total) as progress:
        extraction = extract_folder(
            extractor,
            options.data_dir,
            options.output_dir,
            batch_size=options.batch_size,
            workers=workers,
            unreadable=options.unreadable,
            decode=options.decode,
            descriptor_views=options.descriptor_views,
            edit_seed=options.edit_seed,
            suffix=f".{options.format}",
            progress=progress,
        )
    for line in extraction.skipped:
        reporter.line(f"skipped {line}")
    reporter.line(
        f"{extraction.features}: {counted(extraction.count, 'feature')} of dimension "
        f"{extractor.dimension} in {reporter.seconds:.1f} s; names in {extraction.filenames}"
    )
