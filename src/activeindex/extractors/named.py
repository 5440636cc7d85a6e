"""Extractors by name or by file."""

from functools import partial
from pathlib import Path

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor, ExtractorIdentity
from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR, DEFAULT_INPUT_SIZE, ModelCard
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.weights.cache import cached_path, checked_hash, find_weights
from activeindex.extractors.weights.downloading import StartBar, no_bar
from activeindex.extractors.whitening import WhitenedExtractor, Whitening
from activeindex.extractors.zoo import LIBRARIES, load_from_library
from activeindex.runtime.files import check_file, file_hash


def load_extractor(
    name_or_path: str | Path = DEFAULT_EXTRACTOR,
    input_size: int | None = None,
    *,
    model_path: Path | None = None,
    pooling: Pooling | None = None,
    whitening: Path | None = None,
    start_bar: StartBar = no_bar,
) -> Extractor:
    """Loads an extractor onto the CPU; ``.to(device)`` moves it.

    Args:
        name_or_path: A named model (see :data:`CARDS`), which is downloaded if it is not here;
            ``timm:NAME`` or ``torchvision:NAME``; or a file: TorchScript, torch.export, ONNX, or a
            descriptor of ``training/`` (.safetensors).
        input_size: Side in pixels of the square that images are resized to; by default the model's
            own, 288 for files that do not say.
        model_path: A checkpoint for a timm or torchvision model.
        pooling: Makes vectors of unit length of the feature maps of a network that gives these.
        whitening: A file of :class:`Whitening`, put behind the extractor.
        start_bar: Called for a progress bar when there is something to download.

    Raises:
        InputError: If there is no such file or name, or the file holds something else.
        MissingExtraError: If timm or torchvision is asked for and not installed.
    """
    extractor = _load(str(name_or_path), input_size, model_path, pooling, start_bar).eval()
    if whitening is not None:
        extractor = WhitenedExtractor(extractor, Whitening.read(whitening))
    extractor.loaded_by = partial(
        load_extractor,
        name_or_path,
        input_size,
        model_path=model_path,
        pooling=pooling,
        whitening=whitening,
    )
    return extractor


def _load(
    name: str,
    input_size: int | None,
    model_path: Path | None,
    pooling: Pooling | None,
    start_bar: StartBar,
) -> Extractor:
    library, colon, model = name.partition(":")
    if colon and library in LIBRARIES:
        return load_from_library(library, model, model_path, input_size, pooling)
    if model_path is not None:
        raise InputError(
            f"model_path: expected timm:NAME or torchvision:NAME for a checkpoint, found {name!r}"
        )
    if name in CARDS:
        return _load_card(CARDS[name], input_size, pooling, start_bar)
    path = check_file(Path(name), "model_path")
    if path.suffix.lower() == ".safetensors":
        return _load_descriptor(path, input_size, pooling)
    identity = ExtractorIdentity(
        path.name, file_hash(path), DEFAULT_INPUT_SIZE if input_size is None else input_size
    )
    return _load_file(path, identity, pooling)


def _load_card(
    card: ModelCard, input_size: int | None, pooling: Pooling | None, start_bar: StartBar
) -> Extractor:
    path = find_weights(card, start_bar=start_bar)
    if path.suffix == ".safetensors":
        return _load_descriptor(path, input_size, pooling)
    # What a package brings was checked when it was installed.
    sha256 = checked_hash(path) if path == cached_path(card) else file_hash(path)
    identity = ExtractorIdentity(
        card.name, sha256, card.input_size if input_size is None else input_size
    )
    if path.suffix == ".onnx":
        return _load_file(path, identity, pooling)
    from activeindex.extractors.torchscript import load_torchscript

    return load_torchscript(path, identity, card.mean, card.std, pooling)


def _load_descriptor(path: Path, input_size: int | None, pooling: Pooling | None) -> Extractor:
    if pooling is not None:
        raise InputError(f"pooling: expected a network that gives feature maps, found {path}")
    from activeindex.extractors.lite0.files import load_lite0

    return load_lite0(path, input_size)


def _load_file(path: Path, identity: ExtractorIdentity, pooling: Pooling | None) -> Extractor:
    kind = path.suffix.lower()
    if kind == ".onnx":
        if pooling is not None:
            raise InputError(f"pooling: expected a network that gives feature maps, found {path}")
        from activeindex.extractors.onnx.extractor import load_onnx

        return load_onnx(path, identity)
    if kind == ".pt2":
        from activeindex.extractors.adapt import NetworkExtractor
        from activeindex.extractors.exported import load_program

        return NetworkExtractor(load_program(path, identity.input_size), identity, pooling=pooling)
    from activeindex.extractors.torchscript import load_torchscript

    return load_torchscript(path, identity, pooling=pooling)
