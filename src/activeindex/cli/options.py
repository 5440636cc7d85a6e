"""Options that several commands share, and how their values are read."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from activeindex.errors import UnreadableImageError
from activeindex.runtime.pool import default_workers
from activeindex.runtime.reporting import SILENT, ConsoleReporter, Reporter, counted, listed

_Number = TypeVar("_Number", int, float)

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


def whole(least: int) -> Callable[[str], int]:
    """Reads a whole number, ``least`` or more."""
    return lambda text: _checked(_read(int, "a whole number", text), least)


def number(least: float) -> Callable[[str], float]:
    """Reads a finite number, ``least`` or more."""
    return lambda text: _checked(_read(float, "a number", text), least)


def one_of(*choices: str) -> Callable[[str], str]:
    """Reads one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"expected one of {', '.join(choices)}, found {text!r}"
            )
        return text

    return read


def _read(kind: Callable[[str], _Number], called: str, text: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {called}, found {text!r}") from None


def _checked(value: _Number, least: float) -> _Number:
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected {least} or more, found {value}")
    return value


def add_boolean(
    parser: argparse._ActionsContainer, name: str, default: bool | None, text: str
) -> None:
    """Adds an option that takes ``True`` or ``False``; without a value it means ``True``."""
    parser.add_argument(
        name, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=text
    )


def add_force(parser: argparse._ActionsContainer) -> None:
    """Adds ``--force``."""
    add_boolean(
        parser,
        "--force",
        False,
        "go on with an index, features or images made with another extractor or quantiser",
    )


def add_features(parser: argparse._ActionsContainer, name: str, purpose: str) -> None:
    """Adds ``--NAME``, a feature file that has to be given."""
    parser.add_argument(
        f"--{name}", type=_feature_file, required=True, help=f"features {purpose} (.pt, .pth, .npy)"
    )


def _feature_file(text: str) -> Path:
    """Reads the path of a feature file; the seed spells ``fts.pt`` as ``fts.pth``, too."""
    path = Path(text)
    spelled = path.with_suffix(".pt")
    return spelled if path.suffix == ".pth" and spelled.is_file() and not path.exists() else path


def add_edited(parser: argparse._ActionsContainer) -> None:
    """Adds ``--fts_edited_path``."""
    parser.add_argument(
        "--fts_edited_path",
        action="extend",
        type=_feature_file,
        nargs="+",
        default=[],
        metavar="FTS",
        help="features of edited copies of the training images, from extract_fts --edit_seed, for "
        "an --idx_factory that begins with NAP",
    )


def add_unreadable(parser: argparse._ActionsContainer) -> None:
    """Adds ``--unreadable``; :func:`naming_unreadable` goes with it."""
    parser.add_argument(
        "--unreadable",
        default="refuse",
        choices=("refuse", "skip"),
        help="stop at a file that cannot be decoded, or leave it out and name it",
    )


@contextmanager
def naming_unreadable() -> Iterator[None]:
    """Names ``--unreadable skip`` where a file cannot be decoded; not every command has it."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; --unreadable skip leaves it out") from error


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``, ``--verbose`` and ``--debug``."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--workers",
        type=whole(0),
        default=default_workers(),
        metavar="N",
        help="processes that decode and edit images, and on a CPU compute as well, each with one "
        "thread; 0 for none but this one",
    )
    add_saying(group)


def add_saying(parser: argparse._ActionsContainer) -> None:
    """Adds ``--verbose`` and ``--debug``."""
    parser.add_argument(
        "--verbose", type=int, default=1, metavar="LEVEL", help="0 prints errors only"
    )
    add_debug(parser)


def add_debug(parser: argparse._ActionsContainer) -> None:
    """Adds ``--debug``."""
    add_boolean(parser, "--debug", False, "show the traceback of errors")


def chosen_reporter(options: argparse.Namespace) -> Reporter:
    """The reporter that ``--verbose`` asks for."""
    return ConsoleReporter() if options.verbose > 0 else SILENT


def report_other_files(folder: Path, reporter: Reporter) -> None:
    """Reports the files of a folder that are not taken for images."""
    from activeindex.images.folder import other_files

    if names := other_files(folder):
        many = counted(len(names), "file")
        reporter.line(f"{many} without the name of an image left out: {listed(names)}")


def existing(path: Path, option: str) -> Path:
    """A folder that is read: checked before the slow imports, so that a typo answers at once."""
    from activeindex.runtime.files import check_folder

    return check_folder(path, option)
