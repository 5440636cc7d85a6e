"""Show the result tables of finished runs side by side.

Give one or more output folders of `activeindex main` (or of the released program): recall per edit
and on average, copy detection, and what activation did to the images.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.cli import options
from activeindex.cli.runs import named_runs
from activeindex.runtime.reporting import counted

if TYPE_CHECKING:
    from activeindex.evaluation.tables import Measure
    from activeindex.experiment.summary import RunSummary


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="output folder of a run, or NAME=FOLDER"
    )
    parser.add_argument("--csv", type=Path, help="also write recall.csv and detection.csv here")
    options.add_debug(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    folders = named_runs(args.runs)
    from activeindex.evaluation.rendering import write_detection, write_recall
    from activeindex.experiment.summary import RunSummary

    summaries = {name: RunSummary.read(path) for name, path in folders.items()}
    print(tables_of(summaries))
    if args.csv is not None:
        recall = {name: run.recall for name, run in summaries.items() if run.recall}
        detection = {name: run.detection for name, run in summaries.items() if run.detection}
        write_recall(args.csv / "recall.csv", recall)
        write_detection(args.csv / "detection.csv", detection)


def tables_of(
    runs: Mapping[str, "RunSummary"],
    measures: Sequence["Measure"] = ("R@1", "R@10", "R@100", "mAP"),
) -> str:
    """The tables of some runs as text, at most 100 columns wide.

    Args:
        runs: Name and summary of each run.
        measures: What to show of several runs; of a single one, all four are shown.
    """
    from activeindex.evaluation.rendering import detection_comparison, plain_text, recall_text

    parts = []
    if recall := {name: run.recall for name, run in runs.items() if run.recall}:
        parts.append(recall_text(recall, measures))
    if detection := {name: run.detection for name, run in runs.items() if run.detection}:
        parts.append(plain_text(detection_comparison(detection)))
    for name, run in runs.items():
        if run.distortion:
            left = counted(run.distortion.unchanged, "image") + " unchanged"
            more = f"; {left}" if run.distortion.unchanged else ""
            parts.append(f"{name}:\n  {run.distortion}{more}\n")
    return "\n".join(parts)
