"""Options that several commands share, and how their values are read."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.errors import InputError
from activeindex.running.progress import Bar, Progress, Silent
from activeindex.running.workers import default_workers

if TYPE_CHECKING:
    from activeindex.extractors import Extractor

_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "false", "no", "off"})


def boolean(text: str) -> bool:
    """``True`` or ``False`` as the seed's commands take them (``--active False``)."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")


def optional(text: str) -> str | None:
    """A text, or None for ``None``."""
    return None if text in ("", "None", "none") else text


def add_boolean(parser: argparse._ActionsContainer, name: str, default: bool, text: str) -> None:
    """Adds an option that takes ``True`` or ``False``; without a value it means ``True``."""
    parser.add_argument(
        name, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=text
    )


def add_extractor_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--model_name``, ``--model_path``, ``--resize_size`` and ``--device``."""
    group = parser.add_argument_group("extractor")
    group.add_argument(
        "--model_name",
        default="torchscript",
        metavar="NAME",
        help="torchscript or onnx for the file at --model_path, or the name of an extractor; "
        "without a file, sscd_disc_mixup is used",
    )
    group.add_argument(
        "--model_path",
        type=optional,
        metavar="FILE",
        help="TorchScript or ONNX file; give the one that the features were extracted with",
    )
    group.add_argument(
        "--resize_size",
        type=int,
        default=288,
        metavar="PIXELS",
        help="side of the square that images are resized to",
    )
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, …; auto takes a GPU if there is one"
    )


def add_force(parser: argparse._ActionsContainer) -> None:
    """Adds ``--force``."""
    add_boolean(
        parser,
        "--force",
        False,
        "go on with an index, features or images made with another extractor or quantiser",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``, ``--verbose`` and ``--debug``."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help="processes that decode and edit images; 0 for none",
    )
    group.add_argument(
        "--verbose", type=int, default=1, metavar="LEVEL", help="0 prints errors only"
    )
    add_boolean(group, "--debug", False, "show the traceback of errors")


def chosen_extractor(options: argparse.Namespace) -> "Extractor":
    """The extractor that ``--model_name`` and ``--model_path`` ask for, on ``--device``.

    Raises:
        InputError: If there is no such extractor or device.
    """
    import torch

    from activeindex.extractors import DEFAULT_EXTRACTOR, load_extractor

    name, path = options.model_name, options.model_path
    of_file = name in ("torchscript", "onnx")
    if path is not None and not of_file:
        raise InputError(f"model_name: expected torchscript or onnx for a file, found {name!r}")
    if path is None and name == "onnx":
        raise InputError("model_path: expected an ONNX file, found nothing")
    if path is None and not of_file and name != DEFAULT_EXTRACTOR:
        raise InputError(
            f"model_name: expected torchscript, onnx or {DEFAULT_EXTRACTOR}, found {name!r}"
        )
    extractor = load_extractor(path or DEFAULT_EXTRACTOR, options.resize_size)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return extractor.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"device {options.device!r}: cannot be used ({reason})") from None


class Teller:
    """Says what a command is doing, in lines and progress bars, unless it was asked to be quiet.

    Args:
        verbose: 0 for errors only.
    """

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose
        self._start = time.monotonic()

    def __call__(self, text: object = "") -> None:
        """Prints a line."""
        if self._verbose > 0:
            print(text, flush=True)

    @contextmanager
    def bar(self, title: str, total: int | None, done: int = 0) -> Iterator[Progress]:
        """A progress bar for a stage of the command."""
        if self._verbose > 0:
            with Bar(title, total, done) as shown:
                yield shown
        else:
            yield Silent()

    @property
    def seconds(self) -> float:
        """Since the command started."""
        return time.monotonic() - self._start


def existing(path: Path, option: str) -> Path:
    """A folder that is read: checked before the slow imports, so that a typo answers at once."""
    from activeindex.running.files import check_folder

    return check_folder(path, option)
