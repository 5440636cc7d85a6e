"""Register photographs that ship with the package, and look for edited copies of them.

Ten photographs are registered in a store, among textures and crops of them. --output_dir receives
the released photographs, the store, recall without activation, with the paper's preset and with the
default one, a picture of one copy that is found, and a report to open in a browser.
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
    from activeindex.evaluation.rendering import recall_text
    from activeindex.evaluation.tables import copies_found, edit_label
    from activeindex.experiment.folder import RunSummary
    from activeindex.extractors.named import load_extractor
    from activeindex.runtime.devices import on_device

    reporter = options.chosen_reporter(args)
    extractor = on_device(args.device, load_extractor().to)
    with options.local_engine(args) as workers:
        result = run_demo(args.output_dir, extractor, workers, reporter, args.command_line)
    runs = {name: RunSummary.read(folder) for name, folder in result.runs.items()}
    recall = {name: run.recall for name, run in runs.items() if run.recall}
    reporter.line()
    reporter.lines(recall_text(recall, ("R@1",)))
    for name, run in runs.items():
        if run.distortion:
            reporter.line(f"{name}: {run.distortion}")
    reporter.line()
    reporter.line(copies_found(recall))
    reporter.line(f"One of them, by {edit_label(result.edit)}, in the store:")
    reporter.lines(str(result.copy))
    reporter.line(f"picture of it  {result.picture}")
    reporter.line(f"report         {result.report}")
    reporter.line(f"after {reporter.seconds:.0f} s. With pictures of your own:")
    reporter.line("activeindex register PICTURES --store STORE")
    reporter.line("activeindex search --store STORE SUSPECTS")
