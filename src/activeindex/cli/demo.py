"""Run the whole experiment in small, on photographs that ship in packages.

A dozen photographs are protected and the others, with crops of them, are the reference collection
of an IVF-PQ index. Both arms are evaluated; the tables, a contact sheet of the originals, the
activated images and the difference between them, and a report of both runs to open in a browser end
up in --output_dir.
"""

import argparse
from pathlib import Path

from activeindex.cli.engine_options import local_workers
from activeindex.cli.extractor_options import add_extractor_options, chosen_extractor
from activeindex.cli.from_settings import add_option
from activeindex.cli.options import add_run_options, chosen_reporter

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_option(parser, "output_dir", Path, "folder of the results", Path("demo_output"))
    add_extractor_options(parser)
    add_run_options(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    from activeindex.cli.table import tables_of
    from activeindex.demo.run import run_demo

    reporter = chosen_reporter(options)
    extractor = chosen_extractor(options, reporter)
    reporter.line(f"extractor {extractor.identity}")
    with local_workers(options) as workers:
        result = run_demo(
            options.output_dir, extractor, workers, reporter.stage, options.command_line
        )
    folder = options.output_dir
    reporter.line()
    arms = {"passive": result.passive, "active": result.active}
    reporter.line(tables_of(arms, measures=("R@1",)))
    reporter.line(f"activated images   {folder / 'active' / 'imgs'}")
    reporter.line(f"results            {folder / 'active'}, {folder / 'passive'}")
    reporter.line(f"contact sheet      {result.sheet}")
    reporter.line(f"after {reporter.seconds:.0f} s")
    reporter.line(f"report             {result.report}")
