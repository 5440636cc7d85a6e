"""Register photographs that ship in packages, and look for edited copies of them.

A dozen photographs are registered in a store, among others and crops of them. --output_dir receives
the released photographs, the store, recall with and without activation, a contact sheet of
originals, activated images and their difference, and a report to open in a browser.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_option(parser, "output_dir", Path, "folder of the results", Path("demo_output"))
    add_settings(parser, options.ExtractorOptions, "device")
    options.add_groups(parser, "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from activeindex.demo.run import run_demo
    from activeindex.experiment.folder import tables_of
    from activeindex.extractors.named import load_extractor
    from activeindex.runtime.devices import on_device

    reporter = options.chosen_reporter(args)
    extractor = on_device(args.device, load_extractor().to)
    reporter.line(f"extractor {extractor.identity}")
    with options.local_engine(args) as workers:
        result = run_demo(args.output_dir, extractor, workers, reporter, args.command_line)
    folder = args.output_dir
    reporter.line()
    arms = {"passive": result.passive, "active": result.active}
    reporter.lines(tables_of(arms, measures=("R@1",)))
    reporter.line(f"released images    {folder / 'released'}")
    reporter.line(f"results            {folder / 'active'}, {folder / 'passive'}")
    reporter.line(f"contact sheet      {result.sheet}")
    reporter.line(f"report             {result.report}")
    reporter.line(f"after {reporter.seconds:.0f} s. With pictures of your own:")
    reporter.line("activeindex register PICTURES --store STORE")
    reporter.line("activeindex search --store STORE SUSPECTS")
