"""The command line of the training."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from activeindex.errors import ActiveIndexError
from activeindex.runtime.cores import default_workers
from activeindex.runtime.devices import on_device
from training.run import run
from training.schedule import Curriculum
from training.settings import Settings
from training.views import BankSettings

_USER_ERROR, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training; return the exit code."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()

    def tell(line: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {line}", flush=True)

    try:
        out = Path(options.output_dir)
        run(
            Path(options.data_dir),
            out,
            _settings(options),
            on_device(options.device, lambda device: torch.zeros(1, device=device).device),
            bank_path=None if options.bank is None else Path(options.bank),
            workers=options.workers,
            validations=options.validations,
            tell=tell,
        )
        _draw(out / "log.jsonl", tell)
    except ActiveIndexError as error:
        print(f"error: {error}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _draw(log: Path, tell: Callable[[str], None]) -> None:
    try:
        from training.curves import draw_curves
    except ModuleNotFoundError as error:
        # The charts come with the report, whose libraries a bare training machine may lack.
        tell(f"no curves without {error.name}; later: python -m training.curves {log}")
    else:
        draw_curves(log, log.with_name("curves.svg"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train the package's own descriptor, lite0_copy. The same command goes on with "
        "an interrupted run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    usual, bank = Settings(), BankSettings()
    add = parser.add_argument
    add("--data_dir", required=True, help="folder of training images")
    add("--output_dir", required=True, help="where weights, log, curves and checkpoint go")
    add("--bank", help="file of edited views to make or reuse; bank.npy in output_dir if not given")
    add("--device", default="auto", help="cpu, cuda, …; auto takes a GPU if there is one")
    add("--workers", type=int, default=default_workers(), help="processes that edit")
    add("--minutes", type=float, help="cap on the training, to which the schedule is fitted")
    add("--epochs", type=float, default=usual.epochs, help="passes over the training images")
    add("--batch", type=int, default=usual.batch, help="images per step, two views of each")
    add("--curriculum", default="128:0.4,160:0.4,224:0.2", help="resolution:share of the run, …")
    add("--lr", type=float, default=usual.rate, help="largest learning rate for a batch of 512")
    add("--weight_decay", type=float, default=usual.weight_decay, help="of AdamW")
    add("--temperature", type=float, default=usual.temperature, help="of the contrast")
    add("--entropy_weight", type=float, default=usual.entropy_weight, help="of the entropy term")
    add("--ema", type=float, default=usual.decay, help="decay of the average of the weights")
    add("--train_norms", action="store_true", help="batch norms take statistics of their own")
    add("--dimension", type=int, default=usual.dimension, help="of the features")
    add("--views", type=int, default=bank.views, help="edited views of each image in the bank")
    add("--bank_size", type=int, default=bank.size, help="side of the bank's squares in pixels")
    add("--held_out", type=int, default=usual.held_out, help="images to validate on")
    add("--validations", type=int, default=10, help="how often to validate in a run")
    add("--limit", type=int, help="take only the first images")
    add("--seed", type=int, default=usual.seed, help="of edits, order and augmentation")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        bank=BankSettings(options.views, options.bank_size, options.seed),
        curriculum=Curriculum.parse(options.curriculum),
        epochs=options.epochs,
        batch=options.batch,
        rate=options.lr,
        weight_decay=options.weight_decay,
        temperature=options.temperature,
        entropy_weight=options.entropy_weight,
        decay=options.ema,
        frozen_norms=not options.train_norms,
        dimension=options.dimension,
        held_out=options.held_out,
        minutes=options.minutes,
        seed=options.seed,
        limit=options.limit,
    )
