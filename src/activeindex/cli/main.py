"""Run one arm of an experiment, active or passive, from images to result tables.

Trains the index or takes it from --idx_dir, adds the references and the originals, activates the
images (--active True) or keeps them (--active False), edits them and searches for the edits.
Writes retr_df.csv, icd_df.csv and, if images are kept, imgs/ into --output_dir, and prints the
tables. The same command continues a killed run after its last batch.
"""

import argparse
from pathlib import Path

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings, settings_from
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; names and defaults are the seed's."""
    group = parser.add_argument_group("experiment")
    add_settings(group, ExperimentSettings, defaults={"output_dir": Path("output/")})
    text = "also write losses and image quality here, for tensorboard --logdir"
    add_option(group, "tensorboard", Path, text, metavar="DIR")
    add_settings(parser.add_argument_group("index"), IndexSettings)
    options.add_activation(parser, "paper")
    add_settings(parser.add_argument_group("evaluation"), EvaluationSettings)
    options.add_groups(parser, "extractor", "engine", "running")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    options.check_folders(args, "data_dir", "query_nonmatch_dir", images=True)
    options.check_files(args, "fts_training_path", "fts_reference_path", "fts_edited_path")
    from activeindex.experiment.folder import tables_of
    from activeindex.experiment.run import run_experiment
    from activeindex.experiment.watching import watching

    reporter = options.chosen_reporter(args)
    chosen, preset = options.chosen_engine(args, reporter), options.chosen_preset(args)
    settings = settings_from(
        args,
        ExperimentSettings,
        index=settings_from(args, IndexSettings),
        evaluation=settings_from(args, EvaluationSettings),
        activation=preset.settings,
        release=preset.release,
    )
    extractor = options.chosen_extractor(args, reporter)
    arm = "active" if settings.active else "passive"
    reporter.line(f"{arm} run, index {args.idx_factory}, extractor {extractor.identity}")
    with chosen as workers, watching(args.tensorboard, settings.activation) as listeners:
        reporter.listeners += listeners
        summary = run_experiment(
            settings, extractor, workers=workers, reporter=reporter, command=args.command_line
        )
    reporter.line()
    reporter.lines(tables_of({arm: summary}))
    reporter.line(f"{args.output_dir}: results, after {reporter.seconds:.0f} s")
