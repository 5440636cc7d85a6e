"""Weights in checkpoints of training programs."""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from activeindex.errors import InputError, library_errors

_WRAPPINGS = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "teacher",
    "student",
)
"""Keys that hold the weights, the better ones first: averages over the training, the teacher."""

_PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.", "encoder.")
"""Prefixes of keys by DistributedDataParallel, torch.compile and training programs."""

_LISTED = 8


def load_checkpoint(network: nn.Module, path: Path, data: bytes) -> tuple[str, ...]:
    """Load the weights in a checkpoint, whatever they are wrapped in.

    Known wrappings, also within each other, are ``state_dict``, ``model_state_dict``, ``model``,
    ``teacher`` and ``student``, with ``state_dict_ema`` and ``model_ema`` before them; prefixes
    ``module.``, ``_orig_mod.``, ``backbone.``, ``model.`` and ``encoder.`` are taken off where the
    network's keys do not have them. Only tensors are read; no object is unpickled.

    Args:
        network: Gets the weights whose key and shape are its own; the others stay as they are.
        path: A file of ``torch.save``, or ``.safetensors``; for messages.
        data: Its content.

    Returns:
        A line each for the weights that the network did not get, for those that it has no use for,
        and for wrappings that were left aside, where there are any.

    Raises:
        InputError: If the file is no checkpoint, or none of its weights fit.
    """
    weights, notes = _unwrapped(_read(path, data), path)
    wanted = network.state_dict()
    fitting: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for key, value in weights.items():
        name = _without_prefixes(key, wanted)
        if name in wanted and name not in fitting and wanted[name].shape == value.shape:
            fitting[name] = value
        else:
            unknown.append(key)
    if not {key for key, _ in network.named_parameters()} & fitting.keys():
        raise InputError(
            f"model_path {path}: none of its {len(weights)} weights fits the network "
            f"(found {_some(list(weights), 3)}; expected {_some(list(wanted), 3)})"
        )
    network.load_state_dict(fitting, strict=False)
    missing = [
        key for key in wanted if key not in fitting and not key.endswith("num_batches_tracked")
    ]
    if missing:
        notes.append(
            f"{path}: {len(missing)} of the network's {len(wanted)} weights are not in it and "
            f"stay untrained: {_some(missing)}"
        )
    if unknown:
        notes.append(
            f"{path}: {len(unknown)} of its {len(weights)} weights do not fit: {_some(unknown)}"
        )
    return tuple(notes)


def _read(path: Path, data: bytes) -> Any:
    if path.suffix == ".safetensors":
        with library_errors(f"model_path {path}: expected a file of safetensors"):
            return load(data)
    expected = "expected a checkpoint of tensors (other objects are not unpickled)"
    # The options that a training program was called with lie beside its weights. A Namespace
    # only holds values, which are checked like all others.
    plain = torch.serialization.safe_globals([argparse.Namespace])
    with library_errors(f"model_path {path}: {expected}"), plain:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _unwrapped(found: Any, path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the tensors by their keys, and a line for each choice of a wrapping."""
    notes = []
    found = found if isinstance(found, Mapping) else {}
    while wrappings := [key for key in _WRAPPINGS if isinstance(found.get(key), Mapping)]:
        if len(wrappings) > 1:
            notes.append(f"{path}: {wrappings[0]} is taken, not {', '.join(wrappings[1:])}")
        found = found[wrappings[0]]
    tensors = {str(key): value for key, value in found.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise InputError(f"model_path {path}: expected a checkpoint, found no weights in it")
    return tensors, notes


def _without_prefixes(key: str, wanted: Mapping[str, torch.Tensor]) -> str:
    while key not in wanted and key.startswith(_PREFIXES):
        key = key.partition(".")[2]  # Every prefix is one word and a point.
    return key


def _some(keys: list[str], limit: int = _LISTED) -> str:
    return ", ".join(keys[:limit]) + (", …" if len(keys) > limit else "")
