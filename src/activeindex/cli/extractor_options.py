"""Options that say which extractor a command uses."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.cli.from_settings import add_option
from activeindex.errors import InputError
from activeindex.runtime.reporting import Reporter

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor

_FILES = {"torchscript": "a TorchScript", "onnx": "an ONNX", "pt2": "a torch.export"}
"""What ``--model_name`` says where ``--model_path`` is the extractor itself."""


def add_extractor_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--model_name``, ``--model_path``, ``--resize_size`` and what goes with them."""
    group = parser.add_argument_group("extractor")
    add_option(
        group,
        "model_name",
        str,
        "torchscript, onnx or pt2 for the file at --model_path, torchscript for .safetensors too "
        "(without a file, it stands for lite0_copy); a name that `activeindex models` lists; "
        "timm:NAME or torchvision:NAME",
        "torchscript",
        metavar="NAME",
    )
    add_option(
        group,
        "model_path",
        str | None,
        "TorchScript, ONNX or torch.export file, .safetensors of this project's own training, or "
        "the checkpoint of a timm or torchvision network; give the one that the features were "
        "extracted with",
        metavar="FILE",
    )
    add_option(
        group,
        "resize_size",
        int,
        "side of the square that images are resized to, where the model is not made for another "
        "(default: 288)",
        minimum=32,
        metavar="PIXELS",
    )
    add_option(
        group,
        "pooling",
        str | None,
        "pooling of feature maps into vectors: mean, gem or gem:P; for a network that gives maps, "
        "timm's included",
        metavar="KIND",
    )
    add_option(
        group,
        "whitening",
        str | None,
        "whitening behind the extractor, made by `activeindex whiten` from its training features",
        metavar="FILE",
    )
    add_option(
        group, "device", str, "cpu, cuda, cuda:1, …; auto takes a GPU if there is one", "auto"
    )


def chosen_extractor(options: argparse.Namespace, reporter: Reporter) -> "Extractor":
    """The extractor that the options ask for, on ``--device``.

    Raises:
        InputError: If there is no such extractor or device.
        MissingExtraError: If it needs a library that is not installed.
    """
    from activeindex.extractors.named import load_extractor
    from activeindex.runtime.devices import on_device

    name, checkpoint = _name_and_checkpoint(options.model_name, options.model_path)
    extractor = load_extractor(
        name,
        options.resize_size,
        model_path=checkpoint,
        pooling=options.pooling,
        whitening=options.whitening,
        reporter=reporter,
    )
    for line in extractor.notes:
        reporter.line(line)
    if getattr(options, "engine", None) == "ray":
        return on_device("cpu", extractor.to)  # The workers load it again, where they are.
    return on_device(options.device, extractor.to)


def _name_and_checkpoint(name: str, path: str | None) -> tuple[str | Path, Path | None]:
    """What ``load_extractor`` is asked for: a file or a name, and a checkpoint for the latter."""
    from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR

    if name in _FILES:
        if path is None and name != "torchscript":
            raise InputError(f"model_path: expected {_FILES[name]} file, found nothing")
        return (DEFAULT_EXTRACTOR if path is None else Path(path)), None
    if name in CARDS:
        if path is not None:
            raise InputError(
                "model_name: expected torchscript for a file (leave --model_name out), "
                f"found {name!r}"
            )
        return name, None
    if name.startswith(("timm:", "torchvision:")):
        return name, None if path is None else Path(path)
    raise InputError(
        f"model_name: expected {', '.join(_FILES)}, {', '.join(CARDS)}, timm:NAME or "
        f"torchvision:NAME, found {name!r}"
    )
