"""Options that several commands share."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from activeindex.cli.from_settings import add_option, add_settings
from activeindex.errors import UnreadableImageError
from activeindex.runtime.fields import option
from activeindex.runtime.files import check_file, check_folder
from activeindex.runtime.pool import default_workers
from activeindex.runtime.reporting import ConsoleReporter, Reporter, counted, listed


@dataclass(frozen=True)
class RunOptions:
    """Options of every command that computes."""

    workers: int = option(
        default_workers(),
        "processes that decode and edit images, and on a CPU compute as well, each with one "
        "thread; 0 for none but this one",
        minimum=0,
        metavar="N",
    )
    verbose: int = option(1, "0 prints errors only", metavar="LEVEL")
    debug: bool = option(False, "show the traceback of errors")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add all of :class:`RunOptions`."""
    add_settings(parser.add_argument_group("running"), RunOptions)


def add_verbose(parser: argparse._ActionsContainer) -> None:
    """Add ``--verbose`` and ``--debug``."""
    add_settings(parser, RunOptions, "verbose", "debug")


def add_debug(parser: argparse._ActionsContainer) -> None:
    """Add ``--debug``."""
    add_settings(parser, RunOptions, "debug")


def add_unreadable(parser: argparse._ActionsContainer) -> None:
    """Add ``--unreadable``; :func:`naming_unreadable` goes with it."""
    text = "stop at a file that cannot be decoded, or skip it and name it"
    add_option(parser, "unreadable", str, text, "refuse", choices=("refuse", "skip"))


@contextmanager
def naming_unreadable() -> Iterator[None]:
    """Name ``--unreadable skip`` in the error where a file cannot be decoded."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; --unreadable skip leaves it out") from error


def chosen_reporter(args: argparse.Namespace) -> Reporter:
    """The reporter that ``--verbose`` asks for."""
    return ConsoleReporter() if args.verbose > 0 else Reporter()


def report_other_files(folder: Path, reporter: Reporter) -> None:
    """Report the files of a folder that are not taken for images."""
    from activeindex.images.folder import other_files

    if names := other_files(folder):
        many = counted(len(names), "file")
        reporter.line(f"{many} without the name of an image left out: {listed(names)}")


def check_folders(args: argparse.Namespace, *names: str) -> None:
    """Check folders before the slow imports, for an immediate answer.

    Args:
        args: Parsed options.
        names: Options of folders; those without a value are fine.

    Raises:
        InputError: If there is no such folder.
    """
    for name in names:
        if (folder := getattr(args, name)) is not None:
            check_folder(folder, name)


def check_files(args: argparse.Namespace, *names: str) -> None:
    """Check files, as :func:`check_folders` does folders."""
    for name in names:
        value = getattr(args, name)
        for path in value if isinstance(value, list) else [value]:
            check_file(path, name)
