"""Options that choose an extractor."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.cli.from_settings import add_settings
from activeindex.errors import InputError
from activeindex.runtime.fields import option
from activeindex.runtime.reporting import Reporter

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor

_FILES = ("torchscript", "onnx")
"""Values of ``--model_name`` where ``--model_path`` is the extractor itself."""


@dataclass(frozen=True)
class ExtractorOptions:
    """Options of the extractor."""

    model_name: str = option(
        "torchscript",
        "torchscript or onnx for the file at --model_path, torchscript for .safetensors too "
        "(without a file, it stands for lite0_copy); a name that `activeindex models` lists; "
        "timm:NAME or torchvision:NAME",
        metavar="NAME",
    )
    model_path: str | None = option(
        None,
        "TorchScript or ONNX file, .safetensors of this project's own training, or "
        "the checkpoint of a timm or torchvision network; the one that extracted the features",
        metavar="FILE",
    )
    resize_size: int | None = option(
        None,
        "side of the square that images are resized to, where the model is not made for another "
        "(default: 288)",
        minimum=32,
        metavar="PIXELS",
    )
    pooling: str | None = option(
        None,
        "pooling of a network's feature maps, timm's included: mean, gem or gem:P",
        metavar="KIND",
    )
    whitening: str | None = option(
        None, "whitening of the features, made by `activeindex whiten`", metavar="FILE"
    )
    device: str = option("auto", "cpu, cuda, cuda:1, …; auto takes a GPU if there is one")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of :class:`ExtractorOptions`."""
    add_settings(parser.add_argument_group("extractor"), ExtractorOptions)


def chosen(args: argparse.Namespace, reporter: Reporter) -> "Extractor":
    """The extractor that the options ask for, on ``--device``.

    Raises:
        InputError: If there is no such extractor or device.
        MissingExtraError: If it needs a library that is not installed.
    """
    from activeindex.extractors.named import load_extractor
    from activeindex.runtime.devices import on_device

    name, checkpoint = _name_and_checkpoint(args.model_name, args.model_path)
    extractor = load_extractor(
        name,
        args.resize_size,
        model_path=checkpoint,
        pooling=args.pooling,
        whitening=args.whitening,
        reporter=reporter,
    )
    for line in extractor.notes:
        reporter.line(line)
    if getattr(args, "engine", None) == "ray":
        return on_device("cpu", extractor.to)  # The workers load it again, where they are.
    return on_device(args.device, extractor.to)


def _name_and_checkpoint(name: str, path: str | None) -> tuple[str | Path, Path | None]:
    """File or name of the extractor, and the checkpoint of a named one."""
    from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR

    if name in _FILES or (name == "pt2" and path):  # Loading says what to do with a .pt2 file.
        if path is None and name == "onnx":
            raise InputError("model_path: expected an ONNX file, found nothing")
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
