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
    add_release_options,
    chosen_activation,
    chosen_release,
)
from activeindex.cli.engine_options import add_engine_options, chosen_workers
from activeindex.cli.extractor_options import add_extractor_options, chosen_extractor
from activeindex.cli.options import (
    add_boolean,
    add_edited,
    add_features,
    add_force,
    add_run_options,
    chosen_reporter,
    existing,
    whole,
)
from activeindex.runtime.files import check_file

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; names and defaults are the seed's."""
    group = parser.add_argument_group("experiment")
    group.add_argument("--output_dir", type=Path, default=Path("output/"), help="the results")
    group.add_argument("--data_dir", type=Path, required=True, help="images to be released")
    group.add_argument(
        "--query_nonmatch_dir", type=Path, help="images that are not in the index, as queries"
    )
    add_boolean(group, "--active", True, "activate the images; False is the passive arm")
    add_boolean(group, "--save_imgs", True, "keep the released images in imgs/")
    group.add_argument("--batch_size", type=whole(1), default=16, help="images released together")
    group.add_argument("--seed", type=whole(0), default=0, help="of the noise and of random edits")
    group.add_argument(
        "--log_freq", type=whole(1), default=11, help="iterations between two lines of log.jsonl"
    )
    group.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="also write losses and image quality here, for tensorboard --logdir",
    )
    group = parser.add_argument_group("index")
    group.add_argument("--idx_dir", type=Path, default=Path("indexes"), help="trained indexes")
    group.add_argument("--idx_factory", default="IVF4096,PQ8x8", help="FAISS factory string")
    group.add_argument("--quant", default="L2", choices=("L2", "IP"), help="metric")
    group.add_argument("--nprobe", type=whole(1), default=1, help="inverted lists a search visits")
    group.add_argument(
        "--search_params",
        metavar="NAME=NUMBER,…",
        help="other search-time parameters by FAISS's names, e.g. efSearch=64 or k_factor=4",
    )
    add_force(group)
    add_features(group, "fts_training_path", "that train the index")
    add_features(group, "fts_reference_path", "that fill it")
    add_edited(group)
    add_activation_options(parser, "paper")
    add_release_options(parser)
    group = parser.add_argument_group("evaluation")
    group.add_argument("--kneighbors", type=whole(1), default=100, help="neighbours per query")
    group.add_argument("--batch_size_eval", type=whole(1), default=128, help="queries together")
    add_boolean(group, "--use_attacks_2", False, "the long list of edits, not the fixed one")
    add_boolean(group, "--eval_retrieval", True, "write retr_df.csv")
    add_boolean(group, "--eval_icd", True, "write icd_df.csv")
    add_extractor_options(parser)
    add_engine_options(parser)
    add_run_options(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    existing(options.data_dir, "data_dir")
    check_file(options.fts_training_path, "fts_training_path")
    check_file(options.fts_reference_path, "fts_reference_path")
    for path in options.fts_edited_path:
        check_file(path, "fts_edited_path")
    if options.query_nonmatch_dir is not None:
        existing(options.query_nonmatch_dir, "query_nonmatch_dir")
    from activeindex.cli.table import tables_of
    from activeindex.experiment.run import run_experiment
    from activeindex.experiment.settings import (
        EvaluationSettings,
        ExperimentSettings,
        IndexSettings,
    )
    from activeindex.experiment.watching import watching

    reporter = chosen_reporter(options)
    chosen = chosen_workers(options, reporter)
    settings = ExperimentSettings(
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        index=IndexSettings(
            fts_training_path=options.fts_training_path,
            fts_reference_path=options.fts_reference_path,
            idx_factory=options.idx_factory,
            quant=options.quant,
            nprobe=options.nprobe,
            search_params=options.search_params,
            force=options.force,
            idx_dir=options.idx_dir,
            fts_edited_path=tuple(options.fts_edited_path),
        ),
        evaluation=EvaluationSettings(
            kneighbors=options.kneighbors,
            batch_size_eval=options.batch_size_eval,
            use_attacks_2=options.use_attacks_2,
            eval_retrieval=options.eval_retrieval,
            eval_icd=options.eval_icd,
            query_nonmatch_dir=options.query_nonmatch_dir,
        ),
        activation=chosen_activation(options),
        release=chosen_release(options),
        active=options.active,
        save_imgs=options.save_imgs,
        batch_size=options.batch_size,
        seed=options.seed,
        log_freq=options.log_freq,
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
