"""Run one arm of an experiment, active or passive, from images to result tables.

Trains the index or takes it from --idx_dir, adds the references and the originals, activates the
images (--active True) or keeps them (--active False), edits them and searches for the edits.
Writes retr_df.csv, icd_df.csv and, if images are kept, imgs/ into --output_dir, and prints the
tables. The same command continues a killed run after its last batch.
"""

import argparse
from pathlib import Path

from activeindex.cli import activation_options, engine_options, extractor_options, options
from activeindex.cli.from_settings import add_option, add_settings, settings_from
from activeindex.experiment.settings import (
    EvaluationSettings,
    ExperimentSettings,
    IndexSettings,
)

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; names and defaults are the seed's."""
    group = parser.add_argument_group("experiment")
    add_settings(group, ExperimentSettings, defaults={"output_dir": Path("output/")})
    text = "also write losses and image quality here, for tensorboard --logdir"
    add_option(group, "tensorboard", Path, text, metavar="DIR")
    add_settings(parser.add_argument_group("index"), IndexSettings)
    activation_options.add(parser, "paper")
    add_settings(parser.add_argument_group("evaluation"), EvaluationSettings)
    extractor_options.add(parser)
    engine_options.add(parser)
    options.add_run(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_folders(args, "data_dir", "query_nonmatch_dir")
    options.check_files(args, "fts_training_path", "fts_reference_path", "fts_edited_path")
    from activeindex.experiment.run import run_experiment
    from activeindex.experiment.summary import tables_of
    from activeindex.experiment.watching import watching

    reporter = options.chosen_reporter(args)
    chosen = engine_options.chosen(args, reporter)
    settings = settings_from(
        args,
        ExperimentSettings,
        index=settings_from(args, IndexSettings),
        evaluation=settings_from(args, EvaluationSettings),
        activation=activation_options.chosen(args),
        release=activation_options.chosen_release(args),
    )
    extractor = extractor_options.chosen(args, reporter)
    arm = "active" if settings.active else "passive"
    reporter.line(f"{arm} run, index {args.idx_factory}, extractor {extractor.identity}")
    with (
        chosen as workers,
        watching(args.tensorboard, settings.activation) as listeners,
    ):
        reporter.listeners += listeners
        summary = run_experiment(
            settings,
            extractor,
            workers=workers,
            reporter=reporter,
            command=args.command_line,
        )
    reporter.line()
    reporter.line(tables_of({arm: summary}))
    reporter.line(f"{args.output_dir}: results, after {reporter.seconds:.0f} s")
