"""Run the whole experiment in small, on photographs that ship in packages.

A dozen photographs are activated; the others, with crops of them, are the reference collection of
an IVF-PQ index. --output_dir receives the results of both arms: the tables, a contact sheet of
originals, activated images and their difference, and a report to open in a browser.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_option(parser, "output_dir", Path, "folder of the results", Path("demo_output"))
    options.add_groups(parser, "extractor", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from activeindex.demo.run import run_demo
    from activeindex.experiment.folder import tables_of

    reporter = options.chosen_reporter(args)
    extractor = options.chosen_extractor(args, reporter)
    reporter.line(f"extractor {extractor.identity}")
    with options.local_engine(args) as workers:
        result = run_demo(args.output_dir, extractor, workers, reporter, args.command_line)
    folder = args.output_dir
    reporter.line()
    arms = {"passive": result.passive, "active": result.active}
    reporter.lines(tables_of(arms, measures=("R@1",)))
    reporter.line(f"activated images   {folder / 'active' / 'imgs'}")
    reporter.line(f"results            {folder / 'active'}, {folder / 'passive'}")
    reporter.line(f"contact sheet      {result.sheet}")
    reporter.line(f"after {reporter.seconds:.0f} s")
    reporter.line(f"report             {result.report}")
