"""Extract the features of every image below a folder.

Writes fts.pt (or .pth, .npy), filenames.txt with the name of each row, and fts.json with the
extractor, which later commands check. Features stream to the disk; the same command continues a
killed run.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings, values_from
from activeindex.runtime.fields import option
from activeindex.runtime.reporting import counted

RESUMES = True


@dataclass(frozen=True)
class ExtractionOptions:
    """Options of the extraction."""

    batch_size: int = option(256, "images extracted together", minimum=1)
    decode: str = option(
        "exact",
        "decode JPEGs in full, or large ones only as far as the extractor's input needs: several "
        "times faster, nearly the same features",
        choices=("exact", "scaled"),
    )
    descriptor_views: int = option(
        0,
        "average each feature with those of so many edited views, 16 at most: for originals that "
        "are activated with the same --descriptor_views (docs/presets.md)",
        minimum=0,
    )
    edit_seed: int | None = option(
        None,
        "extract the features of edited copies instead, one edit at random for each image: for "
        "--fts_edited_path (docs/indexes.md)",
        minimum=0,
        metavar="SEED",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_option(parser, "data_dir", Path, "folder of images", required=True)
    add_option(parser, "output_dir", Path, "folder of the features", required=True)
    text = "format of the feature file"
    add_option(parser, "format", str, text, "pt", choices=("pt", "pth", "npy"))
    add_settings(parser, ExtractionOptions)
    options.add_unreadable(parser)
    options.add_groups(parser, "extractor", "engine", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_folders(args, "data_dir", images=True)
    from activeindex.edits.differentiable import check_fixed_views
    from activeindex.extractors.features import extract_folder

    check_fixed_views("descriptor_views", args.descriptor_views)
    reporter = options.chosen_reporter(args)
    workers = options.chosen_engine(args, reporter)
    extractor = options.chosen_extractor(args, reporter)
    met = f"extractor {extractor.identity}"
    options.report_images(args.data_dir, "data_dir", met, reporter)
    with options.naming_unreadable(), workers:
        extraction = extract_folder(
            extractor,
            args.data_dir,
            args.output_dir,
            workers=workers,
            unreadable=args.unreadable,
            suffix=f".{args.format}",
            reporter=reporter,
            **values_from(args, ExtractionOptions),
        )
    for line in extraction.skipped:
        reporter.line(f"skipped {line}")
    reporter.line(
        f"{extraction.features}: {counted(extraction.count, 'feature')} of dimension "
        f"{extractor.dimension} in {reporter.seconds:.1f} s; names in {extraction.filenames}"
    )
    options.check_skipped(extraction.skipped, extraction.count)
