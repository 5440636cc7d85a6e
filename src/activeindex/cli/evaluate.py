"""Evaluate released pictures: how often are their edited copies found by the originals' codes?

ORIGINALS and RELEASED are folders; pictures are paired by their names, or in sorted order where no
names agree. The pictures may have been activated by this program or by any other. With ORIGINALS
given twice the result is that of passive pictures.
"""

import argparse
import json
from pathlib import Path

from activeindex.cli.extractor_options import add_extractor_options, chosen_extractor
from activeindex.cli.options import (
    add_force,
    add_run_options,
    chosen_reporter,
    existing,
    whole,
)
from activeindex.runtime.reporting import SILENT


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("originals", type=Path, metavar="ORIGINALS", help="the original pictures")
    parser.add_argument("released", type=Path, metavar="RELEASED", help="the released pictures")
    parser.add_argument(
        "--index", type=Path, required=True, help="trained index: a folder, or a FAISS file"
    )
    parser.add_argument(
        "--fts_reference_path",
        type=Path,
        metavar="FTS",
        help="features of other images in the index (.pt, .pth, .npy), or their folder",
    )
    parser.add_argument(
        "--edits",
        nargs="+",
        metavar="EDIT",
        help="edits instead of the paper's list: hflip, 'jpeg 50', or package.module:name",
    )
    parser.add_argument("--kneighbors", type=whole(1), default=100, help="neighbours per query")
    parser.add_argument(
        "--nprobe", type=whole(1), default=1, help="inverted lists that are visited"
    )
    parser.add_argument(
        "--search_params", metavar="NAME=NUMBER,…", help="other search-time parameters of FAISS"
    )
    parser.add_argument(
        "--descriptor_views",
        type=whole(0),
        default=0,
        metavar="N",
        help="as many as the pictures were activated with",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of the random edits")
    parser.add_argument(
        "--output_dir", type=Path, help="files of a run, for table, compare and report"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    add_force(parser)
    add_extractor_options(parser)
    add_run_options(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    for name in ("originals", "released"):
        existing(getattr(options, name), name)
    from activeindex.cli.engine_options import local_workers
    from activeindex.edits.lists import FIXED_LIST
    from activeindex.experiment.evaluate import evaluate
    from activeindex.runtime.fields import import_name

    reporter = SILENT if options.json else chosen_reporter(options)
    edits = [import_name(edit, "edits") if ":" in edit else edit for edit in options.edits or ()]
    with local_workers(options) as workers:
        result = evaluate(
            options.originals,
            options.released,
            index=options.index,
            extractor=chosen_extractor(options, reporter),
            references=options.fts_reference_path,
            edits=edits or FIXED_LIST,
            kneighbors=options.kneighbors,
            nprobe=options.nprobe,
            search_params=options.search_params,
            descriptor_views=options.descriptor_views,
            seed=options.seed,
            force=options.force,
            output_dir=options.output_dir,
            workers=workers,
            reporter=reporter,
            command=options.command_line,
        )
    print(json.dumps(result.as_json()) if options.json else result)
