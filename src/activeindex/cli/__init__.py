"""Command line: ``activeindex COMMAND …``, or ``python -m activeindex.COMMAND …``.

Commands read options, call the library and print; they hold no logic. Each is a module with
``add_options(parser)`` and ``run(options)``, imported only when it is asked for, so that
``activeindex --help`` answers at once. ``RESUMES = True`` in a module means that an interrupted
command continues when it is given again.
"""

import argparse
import importlib
import io
import os
import re
import select
import shlex
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from types import ModuleType
from typing import NoReturn

from activeindex import __version__
from activeindex.errors import ActiveIndexError, SomeFailedError, did_you_mean
from activeindex.images.limits import DEFAULT_MAX_PIXELS, set_max_pixels
from activeindex.runtime.reporting import printable
from activeindex.runtime.stopping import announce, stoppable, stopped

COMMANDS = {
    "activate": "activate a folder of images against an index, before their release",
    "backup": "copy a store, and what its service keeps, while it runs",
    "calibrate": "calibrate a store, so that a search says whether a hit is a copy",
    "compare": "compare two runs: the paired difference per edit, with a significance test",
    "demo": "the experiment in small, on photographs that ship in packages",
    "evaluate": "evaluate released pictures, activated by this program or by any other",
    "export": "write predictions in the format of the Image Similarity Challenge",
    "extract_fts": "extract the features of a folder of images",
    "keys": "manage the keys of the service's clients",
    "main": "run an experiment: index, activate, edit, search, evaluate",
    "models": "list the named extractors, and which of them are on this machine",
    "prepare_disc": "split a DISC21 folder into the parts of the experiment (symbolic links)",
    "register": "activate a folder of pictures and add them to a store, in one step",
    "report": "write a report of finished runs: one HTML file, tables as CSV and LaTeX",
    "restore": "make a store of a copy of `backup`",
    "search": "find images in a store, through the quantisers that they were released under",
    "serve": "serve a store over HTTP: register, release and recognise pictures",
    "store": "keep released images where `search` finds them: create, add, remove, get, compact",
    "table": "show the result tables of finished runs side by side",
    "train_index": "train an index and keep it as a folder to activate images against",
    "whiten": "fit a whitening on training features, to put behind an extractor",
}

SOME_FAILED = BROKEN_PIPE = 1
USER_ERROR = 2
"""Exit codes besides 0, 130 after Ctrl-C and 143 after SIGTERM."""

FIXABLE = (ActiveIndexError, OSError, MemoryError)
"""Errors that the user can mend."""

_DESCRIPTION = """\
Active image indexing (Fernandez et al., ICLR 2023): change pictures imperceptibly before release,
so that an approximate index finds their edited copies far more often."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the console command ``activeindex``; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0].replace("-", "_") if given else ""
    if name in COMMANDS:
        return run_command(name, given[1:], f"activeindex {given[0]}")
    parser = _Parser(
        prog="activeindex",
        description=_DESCRIPTION,
        epilog="activeindex COMMAND --help explains a command",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"activeindex {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command, text in COMMANDS.items():
        commands.add_parser(command, help=text)
    return _exit_code(parser.prog, lambda: parser.parse_args(given), argparse.Namespace())


def run_command(name: str, arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        name: One of ``COMMANDS``.
        arguments: Arguments of the command; those of the process by default.
        prog: Name of the command in messages.
    """
    prog = prog or f"python -m activeindex.{name}"
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace(command_line=shlex.join([*prog.split(), *given]))

    def parse_and_run() -> None:
        command: ModuleType = importlib.import_module(f"activeindex.cli.{name}")
        announce(prog, getattr(command, "RESUMES", False))
        parser = _Parser(
            prog=prog,
            description=command.__doc__,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        command.add_options(parser)
        parser.parse_args(with_underscores(given), options)
        set_max_pixels(getattr(options, "max_pixels", DEFAULT_MAX_PIXELS))
        command.run(options)

    with stoppable():
        return _exit_code(prog, parse_and_run, options)


def _exit_code(prog: str, work: Callable[[], object], options: argparse.Namespace) -> int:
    """Do the work of a command, print the line of its error, and return the exit code."""
    _open_standard_streams()
    try:
        work()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        return stopped(stop)
    except FIXABLE as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE  # The reader has seen enough.
        line = _line_of(error)
        if line is None or getattr(options, "debug", False):
            raise
        print(printable(f"{prog}: error: {line}"), file=sys.stderr)
        return SOME_FAILED if isinstance(error, SomeFailedError) else USER_ERROR
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # Python would try again at its exit, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def print_traceback() -> None:
    """Print the traceback of the error that is handled, for ``--debug``."""
    for line in traceback.format_exc().splitlines():
        print(printable(line), file=sys.stderr)


def _line_of(error: Exception) -> str | None:
    """The line for an error that is the user's to mend; None for a bug."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; ask for fewer --workers or a smaller --batch_size"
    if isinstance(error, ActiveIndexError) or not isinstance(error, OSError):
        return str(error)
    if error.strerror is None:
        return None
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _open_standard_streams() -> None:
    """Open closed standard streams, as daemons have them, on the null device.

    Characters that a stream's encoding lacks are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Gets the lowest free number, which is this one.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> bool:
    """Return True if standard output is a pipe whose other end is closed."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def with_underscores(arguments: Sequence[str]) -> list[str]:
    """Spell ``--data-dir`` as ``--data_dir``; values stay as they are."""
    spelled = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option.startswith("--"):
            option = "--" + option[2:].replace("-", "_")
        spelled.append(f"{option}{equals}{value}")
    return spelled


class _Parser(argparse.ArgumentParser):
    """Parser whose usage errors are one line, as all others, and name what was meant."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"unrecognized arguments: (--\w+)", message):
            message += did_you_mean(found[1], self._names())
        elif found := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += did_you_mean(found[1], re.findall(r"[\w-]+", found[2]))
        text = f"{self.prog}: error: {message}; see {self.prog} --help"
        self.exit(USER_ERROR, f"{printable(text)}\n")

    def _names(self) -> list[str]:
        """Options of this parser, and of those below it."""
        names = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                names += [name for each in action.choices.values() for name in each._names()]
        return names


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Formatter that keeps paragraphs of descriptions and shows defaults."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            super(_HelpFormatter, self)._fill_text(part, width, indent)
            for part in text.split("\n\n")
        )

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action]:
        # Not indented: argparse leaves the indent out when it reckons the column of the help.
        yield from getattr(action, "_get_subactions", list)()

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, [], ()) or action.required:
            return action.help
        return super()._get_help_string(action)
