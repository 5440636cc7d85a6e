"""Options that several commands share, and what their values stand for."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from activeindex.cli.from_settings import add_option
from activeindex.errors import UnreadableImageError
from activeindex.runtime.files import check_file, check_folder
from activeindex.runtime.pool import default_workers
from activeindex.runtime.reporting import SILENT, ConsoleReporter, Reporter, counted, listed


def add_unreadable(parser: argparse._ActionsContainer) -> None:
    """Adds ``--unreadable``; :func:`naming_unreadable` goes with it."""
    add_option(
        parser,
        "unreadable",
        str,
        "stop at a file that cannot be decoded, or skip it and name it",
        "refuse",
        choices=("refuse", "skip"),
    )


@contextmanager
def naming_unreadable() -> Iterator[None]:
    """Names ``--unreadable skip`` in the error where a file cannot be decoded."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; --unreadable skip leaves it out") from error


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``, ``--verbose`` and ``--debug``."""
    group = parser.add_argument_group("running")
    add_option(
        group,
        "workers",
        int,
        "processes that decode and edit images, and on a CPU compute as well, each with one "
        "thread; 0 for none but this one",
        default_workers(),
        minimum=0,
        metavar="N",
    )
    add_verbose(group)


def add_verbose(parser: argparse._ActionsContainer) -> None:
    """Adds ``--verbose`` and ``--debug``."""
    add_option(parser, "verbose", int, "0 prints errors only", 1, metavar="LEVEL")
    add_debug(parser)


def add_debug(parser: argparse._ActionsContainer) -> None:
    """Adds ``--debug``."""
    add_option(parser, "debug", bool, "show the traceback of errors", False)


def chosen_reporter(options: argparse.Namespace) -> Reporter:
    """The reporter that ``--verbose`` asks for."""
    return ConsoleReporter() if options.verbose > 0 else SILENT


def report_other_files(folder: Path, reporter: Reporter) -> None:
    """Reports the files of a folder that are not taken for images."""
    from activeindex.images.folder import other_files

    if names := other_files(folder):
        many = counted(len(names), "file")
        reporter.line(f"{many} without the name of an image left out: {listed(names)}")


def check_folders(options: argparse.Namespace, *names: str) -> None:
    """Checks folders before the slow imports, so that a mistyped path is reported at once.

    Args:
        options: Parsed options.
        names: Options of folders; those without a value are fine.

    Raises:
        InputError: If there is no such folder.
    """
    for name in names:
        if (folder := getattr(options, name)) is not None:
            check_folder(folder, name)


def check_files(options: argparse.Namespace, *names: str) -> None:
    """Checks files, as :func:`check_folders` does folders."""
    for name in names:
        value = getattr(options, name)
        for path in value if isinstance(value, list) else [value]:
            check_file(path, name)
