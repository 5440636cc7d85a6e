"""Networks of timm and torchvision by name, without their classification head."""

import contextlib
import hashlib
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError, import_extra, library_errors
from activeindex.extractors.adapt import NetworkExtractor, hash_of_weights
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.weights import cause_of
from activeindex.extractors.zoo_checkpoints import load_checkpoint
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import read_bytes

LIBRARIES = ("timm", "torchvision")

_HEADS = ("fc", "classifier", "head", "heads")
"""Names of classification heads in torchvision."""

_TIMEOUT = 10.0

_Built = tuple[nn.Module, int, tuple[float, float, float], tuple[float, float, float]]
"""A headless network, and the input size, mean and deviation of its default weights."""


def load_from_library(
    library: str,
    name: str,
    checkpoint: Path | None = None,
    input_size: int | None = None,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """Load a network of timm or torchvision as an extractor.

    Args:
        library: ``"timm"`` or ``"torchvision"``.
        name: Name of the network there; with timm, a tag after a point names other weights
            (``resnet50.a1_in1k``), whose input size and normalisation then count.
        checkpoint: Weights; by default the library's own pretrained ones, which it downloads.
        input_size: Side in pixels of the images; by default that of the library's own weights.
        pooling: Pooling instead of the network's own; for timm networks only, which give their
            feature maps.

    Returns:
        The extractor; its notes say which weights of the checkpoint did not fit.

    Raises:
        MissingExtraError: If the library is not installed.
        InputError: If there is no such network, it refuses images of that size, or the checkpoint
            is not one of it.
    """
    data = None if checkpoint is None else read_bytes(checkpoint, "model_path")
    build = _build_timm if library == "timm" else _build_torchvision
    with torch.random.fork_rng(devices=[]):  # Weights of no checkpoint are the same every time.
        torch.manual_seed(0)
        network, size, mean, std = build(_imported(library), name, checkpoint is None, pooling)
    notes: tuple[str, ...] = ()
    if checkpoint is None or data is None:
        sha256 = hash_of_weights(network)
    else:
        sha256 = hashlib.sha256(data).hexdigest()
        notes = load_checkpoint(network, checkpoint, data)
    identity = ExtractorIdentity(
        f"{library}:{name}", sha256, size if input_size is None else input_size
    )
    if pooling and getattr(network, "output_fmt", "NCHW") == "NHWC":
        network = _ChannelsFirst(network)  # Behind its weights, whose keys are the network's own.
    extractor = NetworkExtractor(network, identity, mean, std, pooling)
    extractor.notes = notes
    return extractor


def _imported(library: str) -> Any:
    with library_errors(f"{library}: installed, but it does not import"):  # E.g. of another torch.
        return import_extra(library, "zoo", f"a network of {library}")


def _build_timm(timm: Any, name: str, pretrained: bool, pooling: Pooling | None) -> _Built:
    if not timm.is_model(name):
        raise InputError(f"model_name: expected a network that timm has, found {name!r}")
    options = {"global_pool": ""} if pooling else {}
    with _building(f"timm:{name}", pretrained), _hub(pretrained):
        network = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    wants = timm.data.resolve_model_data_config(network)
    return network, wants["input_size"][-1], tuple(wants["mean"]), tuple(wants["std"])


class _ChannelsFirst(nn.Module):
    """Network whose feature maps ``(B, H, W, C)`` become ``(B, C, H, W)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(images)
        return out.permute(0, 3, 1, 2) if out.dim() == 4 else out


def _build_torchvision(
    torchvision: Any, name: str, pretrained: bool, pooling: Pooling | None
) -> _Built:
    models = torchvision.models
    if name not in models.list_models(module=models):
        raise InputError(f"model_name: expected a network that torchvision has, found {name!r}")
    if pooling:
        raise InputError("pooling: expected a timm network, found one of torchvision")
    with _building(f"torchvision:{name}", pretrained), warnings.catch_warnings():
        # It warns that random weights will be others one day.
        warnings.simplefilter("ignore", FutureWarning)
        network = models.get_model(name, weights="DEFAULT" if pretrained else None)
    network = without_head(network, name)
    wants = models.get_model_weights(name).DEFAULT.transforms()
    # A vision transformer takes images of one size only; the weights may be for another.
    size = getattr(network, "image_size", wants.crop_size[0])
    return network, size, tuple(wants.mean), tuple(wants.std)


def without_head(network: nn.Module, name: str) -> nn.Module:
    """Take the last learned layer, that of the classes, out of a network.

    Whatever the head has before that layer (pooling, norms, hidden layers) stays.

    Args:
        network: A network of torchvision; changed in place.
        name: Name of the network, for the error.

    Raises:
        InputError: If it has no head that is known here.
    """
    head = next((h for h in _HEADS if isinstance(getattr(network, h, None), nn.Module)), None)
    layers = [
        key
        for key, layer in network.named_modules()
        if head is not None
        and (key == head or key.startswith(f"{head}."))
        and isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    if not layers:
        raise InputError(f"torchvision:{name}: it has no classification head that is known here")
    parent, _, last = layers[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network


@contextlib.contextmanager
def _building(title: str, pretrained: bool) -> Iterator[None]:
    """Turn what fails in the block into an InputError, with a way around downloads."""
    try:
        # Libraries report downloads on standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # Libraries, and their downloads, raise dozens of types.
        reason = cause_of(error)
        # Networks refuse their options by these; a download fails otherwise.
        if not pretrained or isinstance(error, (AssertionError, TypeError)):
            raise InputError(f"{title}: cannot be built ({reason})") from None
        raise InputError(
            f"{title}: its pretrained weights cannot be had ({reason}); give a checkpoint with "
            "--model_path"
        ) from None


@contextlib.contextmanager
def _hub(needed: bool) -> Iterator[None]:
    """Put the client of timm's hub offline while the hub cannot be reached.

    It would otherwise try each of several files six times, 48 s in all, even where the weights are
    in its cache.
    """
    if not needed:
        yield
        return
    import huggingface_hub.constants

    constants: Any = huggingface_hub.constants
    reason = None if constants.HF_HUB_OFFLINE else _unreachable(constants.ENDPOINT)
    if reason is None:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except OSError:
        raise ConnectionError(
            f"{constants.ENDPOINT} cannot be reached: {reason}; no earlier download either"
        ) from None
    finally:
        constants.HF_HUB_OFFLINE = False


def _unreachable(address: str) -> str | None:
    """Return the reason why a server gives no answer; None if it gives one."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT):
            return None
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        return cause_of(error)
