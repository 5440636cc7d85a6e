"""Reporters: lines of text, progress and events of long computations.

Long functions take a :class:`Reporter`. :data:`SILENT`, their default, sends everything to the
logger ``activeindex`` of Python's logging, at level INFO; a :class:`ConsoleReporter` shows it to
the user of a command.

Example:
    >>> ConsoleReporter().line("3 images")
    3 images
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rich takes a tenth of a second to import, and only a terminal needs it.
    from rich.progress import Progress as Bars
    from rich.progress import Task

# Seconds between two lines of a stage in a log.
_BETWEEN_LINES = 60.0

# Characters of a bar itself.
_WIDTH = 10

_log = logging.getLogger("activeindex")


def counted(count: int, noun: str) -> str:
    """Count and noun: ``1 image``, ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[object], most: int = 3) -> str:
    """The first few names of many, separated by commas."""
    return ", ".join(map(str, names[:most])) + (" …" if len(names) > most else "")


# What a terminal acts on: control characters, line ends and marks of direction; and bytes of a name
# that are not UTF-8, which no stream takes.
_RAW = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: object) -> str:
    r"""Escape what a terminal would act on, as names of files and texts of libraries may hold it.

    Example:
        >>> print(printable("\x1b[31mred.png"))
        \x1b[31mred.png
    """
    return _RAW.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


class Progress:
    """Progress of one stage; this one is not shown."""

    def advance(self, items: int = 1, **figures: float) -> None:
        """Count ``items`` as done; ``figures``, such as the loss, are shown beside."""


class Reporter:
    """Receiver of the reports of a long computation; this one logs them.

    Events are objects such as a gradient step or a released image.

    Args:
        listeners: Called with every event.
        clock: Tells the seconds.
    """

    def __init__(
        self,
        listeners: Sequence[Callable[[object], None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listeners = tuple(listeners)
        self.clock = clock
        self._start = clock()

    def line(self, text: object = "") -> None:
        """Report a line of text, :func:`printable`."""
        self._write(printable(text))

    def lines(self, text: object) -> None:
        """Report text of several lines, such as a table."""
        for line in str(text).split("\n"):
            self.line(line)

    def _write(self, line: str) -> None:
        _log.info("%s", line)

    def event(self, event: object) -> None:
        """Report an event to the listeners."""
        for listener in self.listeners:
            listener(event)

    @contextmanager
    def stage(
        self, title: str, total: int | None = None, done: int = 0, unit: str = "image"
    ) -> Iterator[Progress]:
        """Report a stage of a computation: its beginning, progress and end.

        Args:
            title: What is being done, e.g. ``"features"``.
            total: Number of items; None where it is not known beforehand.
            done: Items that an earlier, interrupted run has done.
            unit: What an item is.
        """
        lines = _Lines(self, title, total, done)
        if done == total:
            self.line(f"{title}: done before, {done} of {total}")
            yield lines
            return
        self.line(f"{title}: begun" + ("" if total is None else f", {done} of {total}"))
        yield lines
        lines.report("ended")

    @property
    def seconds(self) -> float:
        """Seconds since the reporter was made."""
        return self.clock() - self._start


# Reporter of a library function that is given no other.
SILENT = Reporter()


class ConsoleReporter(Reporter):
    """Reporter of a command: lines on standard output, progress bars on a terminal.

    Where standard error is no terminal, stages are reported in lines, at most one a minute.
    """

    def _write(self, line: str) -> None:
        print(line, flush=True)

    @contextmanager
    def stage(
        self, title: str, total: int | None = None, done: int = 0, unit: str = "image"
    ) -> Iterator[Progress]:
        """Show a bar with rate and time left; see :meth:`Reporter.stage`."""
        if not sys.stderr.isatty():
            with super().stage(title, total, done, unit) as lines:
                yield lines
            return
        with _bars() as bars:
            yield _Bar(bars, title, total, done, unit)


class _Lines(Progress):
    """Progress of a stage in lines, for a log."""

    def __init__(self, reporter: Reporter, title: str, total: int | None, done: int) -> None:
        self._reporter, self._title, self._total, self._done = reporter, title, total, done
        self._figures: dict[str, float] = {}
        self._start = self._reported = reporter.clock()

    def advance(self, items: int = 1, **figures: float) -> None:
        self._done += items
        self._figures = figures or self._figures
        # The end is reported right after the last item.
        if self._done != self._total and self._reporter.clock() - self._reported > _BETWEEN_LINES:
            self.report("going on")

    def report(self, state: str) -> None:
        """Report a line."""
        self._reported = self._reporter.clock()
        of = "" if self._total is None else f" of {self._total}"
        figures = "".join(f", {name} {value:.3g}" for name, value in self._figures.items())
        seconds = self._reported - self._start
        self._reporter.line(f"{self._title}: {state}, {self._done}{of}, {seconds:.0f} s{figures}")


class _Bar(Progress):
    """Progress of a stage as a bar."""

    def __init__(self, bars: "Bars", title: str, total: int | None, done: int, unit: str) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=total, completed=done, unit=unit, figures={})

    def advance(self, items: int = 1, **figures: float) -> None:
        if figures:
            self._bars.update(self._task, figures=figures)
        self._bars.advance(self._task, items)


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Line(ProgressColumn):
        """Everything in one line, which a narrow terminal cuts off at its end."""

        def render(self, task: "Task") -> Text:
            return Text(_line(task), no_wrap=True, overflow="crop")

    # What is printed while the bar is shown keeps its way to standard output.
    return Bars(
        Line(),
        console=Console(file=sys.stderr),
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=5,
    )


def _line(task: "Task") -> str:
    """The line of a bar: count, time gone and left, figures, rate."""
    figures = "".join(f"{k}={v:.3g}, " for k, v in task.fields["figures"].items())
    rate = f"{task.speed:.3g}" if task.speed else "?"
    end = f"{figures}{rate} {task.fields['unit']}/s]"
    done, gone = round(task.completed), _minutes(task.elapsed)
    if task.total is None:
        return f"{task.description}: {done} [{gone}, {end}"
    filled = int(_WIDTH * task.percentage / 100)
    bar = "█" * filled + " " * (_WIDTH - filled)
    left = _minutes(task.time_remaining)
    return (
        f"{task.description}: {task.percentage:3.0f}%|{bar}| "
        f"{done}/{round(task.total)} [{gone}<{left}, {end}"
    )


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    hours, rest = divmod(round(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"
