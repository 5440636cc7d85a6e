"""Networks of timm and torchvision by name, their classification head removed."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError, MissingExtraError
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, ExtractorIdentity
from activeindex.extractors.network import NetworkExtractor
from activeindex.extractors.pooling import Pooling
from activeindex.running.files import check_file, file_hash

LIBRARIES = ("timm", "torchvision")

_INPUT_SIZE = 224
"""What most of these networks were trained at."""

_WRAPPINGS = ("state_dict", "model_state_dict", "model", "teacher", "student")
_PREFIXES = ("module.", "backbone.", "model.", "encoder.")
_HEADS = ("fc", "classifier", "head", "heads")
"""What torchvision calls its classification heads."""


def load_from_library(
    library: str,
    name: str,
    checkpoint: Path | None = None,
    input_size: int | None = None,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """A network of timm or torchvision as an extractor.

    Args:
        library: ``"timm"`` or ``"torchvision"``.
        name: What the library calls the network.
        checkpoint: Its weights; without, the library's own pretrained ones, which it downloads.
        input_size: Side in pixels of the images; 224 by default.
        pooling: Instead of the network's own; for timm networks only, which give their maps.

    Raises:
        MissingExtraError: If the library is not installed.
        InputError: If there is no such network, or the checkpoint is not one of it.
    """
    if checkpoint is not None:
        check_file(checkpoint, "model_path")
    module = _import(library)
    build = _timm if library == "timm" else _torchvision
    network, mean, std = build(module, name, checkpoint is None, pooling is not None)
    notes: tuple[str, ...] = ()
    if checkpoint is None:
        sha256 = _hash_of_weights(network)
    else:
        sha256, notes = file_hash(checkpoint), load_checkpoint(network, checkpoint)
    identity = ExtractorIdentity(f"{library}:{name}", sha256, input_size or _INPUT_SIZE)
    extractor = NetworkExtractor(network, identity, mean, std, pooling)
    extractor.notes = notes
    return extractor


def _import(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise MissingExtraError(library, "zoo", f"a network of {library}") from None
    except RuntimeError as error:  # torchvision beside a torch that it was not built for
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{library}: installed, but it does not import ({reason})") from None


Normalisation = tuple[float, float, float]


def _timm(
    timm: Any, name: str, pretrained: bool, maps: bool
) -> tuple[nn.Module, Normalisation, Normalisation]:
    if name not in timm.list_models():
        raise InputError(f"model_name: expected a network that timm has, found {name!r}")
    pooled = {"global_pool": ""} if maps else {}
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=0, **pooled)
    except Exception as error:  # Whatever the download meets.
        raise _no_weights("timm", name, error) from None
    config = network.pretrained_cfg
    return network, tuple(config["mean"]), tuple(config["std"])


def _torchvision(
    torchvision: Any, name: str, pretrained: bool, maps: bool
) -> tuple[nn.Module, Normalisation, Normalisation]:
    models = torchvision.models
    if name not in models.list_models(module=models):
        raise InputError(f"model_name: expected a network that torchvision has, found {name!r}")
    if maps:
        raise InputError("pooling: expected a timm network, found one of torchvision")
    try:
        network = models.get_model(name, weights="DEFAULT" if pretrained else None)
    except Exception as error:  # Whatever the download meets.
        raise _no_weights("torchvision", name, error) from None
    for head in _HEADS:
        if isinstance(getattr(network, head, None), nn.Module):
            setattr(network, head, nn.Identity())
            return network, IMAGENET_MEAN, IMAGENET_STD
    raise InputError(f"model_name: torchvision's {name} has no head that is known here")


def _no_weights(library: str, name: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(
        f"{library}:{name}: its pretrained weights cannot be had ({reason}); give a checkpoint "
        "with --model_path"
    )


def _hash_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(network: nn.Module, path: Path) -> tuple[str, ...]:
    """Loads the weights in a checkpoint, whatever they are wrapped in.

    Known wrappings are ``state_dict``, ``model_state_dict``, ``model``, ``teacher`` and
    ``student``; prefixes ``module.``, ``backbone.``, ``model.`` and ``encoder.`` are taken off
    where the network's keys do not have them. Only tensors are read; nothing else is unpickled.

    Returns:
        A line for the weights that the network lacks or that it found none for, if there are any.

    Raises:
        InputError: If the file is no checkpoint, or none of its weights fit.
    """
    weights = _read_checkpoint(path)
    wanted = network.state_dict()
    fitting: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for key, value in weights.items():
        name = _without_prefixes(key, wanted)
        if name in wanted and wanted[name].shape == value.shape:
            fitting[name] = value
        else:
            unknown.append(key)
    learned = {key for key, _ in network.named_parameters()}
    if not learned & fitting.keys():
        raise InputError(
            f"model_path {path}: none of its {len(weights)} weights fits the network "
            f"(found {_some(list(weights))}; expected {_some(list(wanted))})"
        )
    network.load_state_dict(fitting, strict=False)
    missing = [
        key for key in wanted if key not in fitting and not key.endswith("num_batches_tracked")
    ]
    notes = []
    if missing:
        notes.append(
            f"{path}: {len(missing)} weights of the network are not in it: {_some(missing)}"
        )
    if unknown:
        notes.append(f"{path}: {len(unknown)} of its weights do not fit: {_some(unknown)}")
    return tuple(notes)


def _read_checkpoint(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # The reader meets broken bytes with errors of a dozen types.
        raise InputError(
            f"model_path {path}: expected a checkpoint of tensors (other objects are not unpickled)"
        ) from None
    while isinstance(found, Mapping):
        inner = next((found[w] for w in _WRAPPINGS if isinstance(found.get(w), Mapping)), None)
        if inner is None:
            break
        found = inner
    tensors = (
        {str(key): value for key, value in found.items() if isinstance(value, torch.Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise InputError(f"model_path {path}: expected a checkpoint, found no weights in it")
    return tensors


def _without_prefixes(key: str, wanted: Mapping[str, torch.Tensor]) -> str:
    while key not in wanted:
        prefix = next((p for p in _PREFIXES if key.startswith(p)), None)
        if prefix is None:
            break
        key = key.removeprefix(prefix)
    return key


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
