"""Extractors by name or by file."""

import hashlib
import os
from functools import partial
from pathlib import Path

import torch

from activeindex.errors import InputError, import_extra
from activeindex.extractors.adapt import load_torchscript
from activeindex.extractors.base import Extractor
from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR, DEFAULT_INPUT_SIZE
from activeindex.extractors.lite0.files import load_lite0
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.weights import check_weights, find_weights
from activeindex.extractors.whitening import WhitenedExtractor, Whitening
from activeindex.extractors.zoo import LIBRARIES, load_from_library
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import check_file, read_bytes
from activeindex.runtime.reporting import SILENT, Reporter


def load_extractor(
    name_or_path: str | os.PathLike[str] = DEFAULT_EXTRACTOR,
    input_size: int | None = None,
    *,
    model_path: str | os.PathLike[str] | None = None,
    pooling: Pooling | str | None = None,
    whitening: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
) -> Extractor:
    """Load an extractor onto the CPU; ``.to(device)`` moves it.

    Args:
        name_or_path: Name of a model (see :data:`~activeindex.extractors.cards.CARDS`), which is
            downloaded at its first use; ``timm:NAME`` or ``torchvision:NAME``; or a file:
            TorchScript, ONNX, or a descriptor of ``training/`` (.safetensors). A TorchScript file
            is a program, which runs when it is loaded and called: take none from strangers.
        input_size: Side in pixels of the square that images are resized to; by default the model's
            own, 288 for files that do not say.
        model_path: Checkpoint for a timm or torchvision model.
        pooling: ``mean``, ``gem``, ``gem:P`` or a :class:`Pooling`: makes vectors of unit length of
            the feature maps of a network that gives these.
        whitening: File of a :class:`Whitening`, which is put behind the extractor.
        reporter: Receives the progress of a download.

    Raises:
        InputError: If there is no such file or name, the file holds something else, or the
            features have no gradient to the image.
        MissingExtraError: If timm or torchvision is needed and not installed.

    Example:
        >>> extractor = load_extractor("lite0_copy")
        >>> extractor.dimension, extractor.input_size
        (256, 224)
    """
    load = partial(
        _load,
        os.fspath(name_or_path),
        input_size,
        None if model_path is None else Path(model_path),
        Pooling.parse(pooling) if isinstance(pooling, str) else pooling,
        None if whitening is None else Path(whitening),
    )
    with torch.inference_mode(False):  # Inference tensors pass no gradient.
        extractor = load(reporter)
    if name_or_path in CARDS:
        extractor.verified = True
    else:
        extractor.check_gradient()
    extractor.loaded_by = load
    return extractor


def _load(
    name: str,
    input_size: int | None,
    checkpoint: Path | None,
    pooling: Pooling | None,
    whitening: Path | None,
    reporter: Reporter = SILENT,
) -> Extractor:
    library, _, model = name.partition(":")
    if library in LIBRARIES and library != name:
        extractor: Extractor = load_from_library(library, model, checkpoint, input_size, pooling)
    elif checkpoint is not None:
        raise InputError(
            f"model_path: expected timm:NAME or torchvision:NAME for a checkpoint, found {name!r}"
        )
    else:
        extractor = _load_file(name, input_size, pooling, reporter)
    extractor.eval()
    if whitening is None:
        return extractor
    return WhitenedExtractor(extractor, Whitening.read(whitening))


def _load_file(
    name: str, input_size: int | None, pooling: Pooling | None, reporter: Reporter
) -> Extractor:
    """Load the file of a named model, or a file of the user's."""
    card = CARDS.get(name)
    path = Path(name) if card is None else find_weights(card, reporter)
    kind = path.suffix.lower()
    if kind == ".pt2":  # torch.export.load runs code that the file contains.
        check_file(path, "model_path")
        raise InputError(
            f"model_path {path}: expected TorchScript, ONNX or .safetensors, found a torch.export "
            f'program; in Python, as_extractor(torch.export.load("{path}").module(), input_size)'
        )
    if pooling is not None and kind in (".safetensors", ".onnx"):
        raise InputError(f"pooling: expected a network that gives feature maps, found {path}")
    # Read once, so that what is hashed is what is loaded.
    data = read_bytes(path, "model_path")
    default_size = DEFAULT_INPUT_SIZE if card is None else card.input_size
    if kind == ".onnx":
        import_extra("onnx", "onnx", f"model_path {path}")
        from activeindex.extractors.onnx.module import OnnxExtractor, load_onnx_module

        network = load_onnx_module(path, data)
        sha256, default_size = network.sha256, network.image.height or default_size
    else:
        sha256 = hashlib.sha256(data).hexdigest()
    if card is not None:
        check_weights(card, path, sha256, len(data))
    if kind == ".safetensors":
        return load_lite0(path, data, sha256, input_size)
    identity = ExtractorIdentity(
        path.name if card is None else card.name,
        sha256,
        default_size if input_size is None else input_size,
    )
    if kind == ".onnx":
        return OnnxExtractor(network, identity)
    if card is None:
        return load_torchscript(path, data, identity, pooling=pooling)
    return load_torchscript(path, data, identity, card.mean, card.std, pooling)
