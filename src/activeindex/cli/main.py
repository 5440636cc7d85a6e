"""Run one arm of an experiment, active or passive, from a folder of images to result tables.

Trains the index or takes it from --idx_dir, adds the references and the originals, activates the
images (--active True) or keeps them (--active False), edits them and searches for the edits.
Writes retr_df.csv, icd_df.csv and, if images are kept, imgs/ into --output_dir, and prints the
tables. A killed run goes on after its last batch when the same command is given again.
"""

import argparse
from pathlib import Path

from activeindex.cli.activation_options import (
    add_activation_options,
    chosen_activation,
    chosen_release,
)
from activeindex.cli.engine_options import add_engine_options, chosen_workers
from activeindex.cli.extractor_options import add_extractor_options, chosen_extractor
from activeindex.cli.from_settings import add_option, add_settings, settings_from
from activeindex.cli.options import add_run_options, check_files, check_folders, chosen_reporter
from activeindex.experiment.settings import (
    EvaluationSettings,
    ExperimentSettings,
    IndexSettings,
)

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; names and defaults are the seed's."""
    group = parser.add_argument_group("experiment")
    add_settings(group, ExperimentSettings, defaults={"output_dir": Path("output/")})
    add_option(
        group,
        "tensorboard",
        Path,
        "also write losses and image quality here, for tensorboard --logdir",
        metavar="DIR",
    )
    add_settings(parser.add_argument_group("index"), IndexSettings)
    add_activation_options(parser, "paper")
    add_settings(parser.add_argument_group("evaluation"), EvaluationSettings)
    add_extractor_options(parser)
    add_engine_options(parser)
    add_run_options(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    check_folders(options, "data_dir", "query_nonmatch_dir")
    check_files(options, "fts_training_path", "fts_reference_path", "fts_edited_path")
    from activeindex.cli.table import tables_of
    from activeindex.experiment.run import run_experiment
    from activeindex.experiment.watching import watching

    reporter = chosen_reporter(options)
    chosen = chosen_workers(options, reporter)
    settings = settings_from(
        options,
        ExperimentSettings,
        index=settings_from(options, IndexSettings),
        evaluation=settings_from(options, EvaluationSettings),
        activation=chosen_activation(options),
        release=chosen_release(options),
    )
    extractor = chosen_extractor(options, reporter)
    arm = "active" if settings.active else "passive"
    reporter.line(f"{arm} run, index {options.idx_factory}, extractor {extractor.identity}")
    with (
        chosen as workers,
        watching(options.tensorboard, settings.activation) as watchers,
    ):
        summary = run_experiment(
            settings,
            extractor,
            workers=workers,
            start_bar=reporter.stage,
            watchers=watchers,
            command=options.command_line,
            tell=reporter.line,
        )
    reporter.line()
    reporter.line(tables_of({arm: summary}))
    reporter.line(f"{options.output_dir}: results, after {reporter.seconds:.0f} s")
