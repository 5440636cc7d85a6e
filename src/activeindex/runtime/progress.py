"""Progress of everything that takes more than a moment."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

_REDRAW = 0.2
"""Seconds between two drawings of a bar that does not advance."""
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}, {rate_fmt}]"
"""The bar's own rate comes last: a narrow terminal cuts it off rather than what is shown."""
_BETWEEN_LINES = 60.0
"""Seconds between two lines of a stage in a log."""


def counted(count: int, noun: str) -> str:
    """How many of a thing: ``1 image``, ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first of some names."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


class Progress(Protocol):
    """What a long function reports to: the number of items done, and what to show beside them."""

    def advance(self, items: int = 1, **shown: float) -> None:
        """Counts ``items`` as done and shows ``shown``, e.g. the running loss."""


class Silent:
    """Reports nothing; the default of every long function."""

    def advance(self, items: int = 1, **shown: float) -> None:
        """Does nothing."""


class Bar:
    """A bar with rate and time left on standard error; nothing where that is not a terminal.

    Args:
        title: What is being done, e.g. ``"features"``.
        total: How many items there are; None where that is not known beforehand.
        done: How many of them an earlier, interrupted run has done.
        unit: What an item is.
    """

    def __init__(self, title: str, total: int | None, done: int = 0, unit: str = "image") -> None:
        from tqdm import tqdm

        self._drawn = 0.0
        sized = _has_size(sys.stderr)
        self._bar: Any = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=f" {unit}",
            file=sys.stderr,
            disable=None,  # None: off where standard error is not a terminal.
            dynamic_ncols=sized,
            ncols=None if sized else 80,
            nrows=None if sized else 24,
            smoothing=0.1,
            bar_format=None if total is None else _FORMAT,
        )

    def advance(self, items: int = 1, **shown: float) -> None:
        """Counts ``items`` as done and shows ``shown`` at the end of the bar."""
        if shown:
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(items)
        # Without an item done the bar draws nothing; what it shows may have changed all the same.
        if shown and not items and time.monotonic() - self._drawn > _REDRAW:
            self._drawn = time.monotonic()
            self._bar.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()


def _has_size(stream: TextIO) -> bool:
    """Whether a terminal says how large it is; tqdm would draw nothing in one of 0 columns."""
    try:
        return all(os.get_terminal_size(stream.fileno()))
    except OSError:
        return True  # It is none, and nothing is drawn.


@contextmanager
def in_lines(
    title: str,
    total: int | None,
    done: int = 0,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Lines on standard output, for a log: a stage has begun, goes on (once a minute), has ended.

    Of one that an earlier run has ended, a single line.

    Args:
        title: What is being done.
        total: How many items there are; None where that is not known beforehand.
        done: How many of them an earlier, interrupted run has done.
        clock: Tells the seconds.
    """
    stage = _Stage(title, total, done, clock)
    if done == total:
        print(f"{title}: done before, {done} of {total}", flush=True)
        yield stage
        return
    print(f"{title}: begun" + ("" if total is None else f", {done} of {total}"), flush=True)
    yield stage
    stage.say("ended")


class _Stage:
    def __init__(
        self, title: str, total: int | None, done: int, clock: Callable[[], float]
    ) -> None:
        self._title, self._total, self._done, self._clock = title, total, done, clock
        self._figures: dict[str, float] = {}
        self._start = self._said = clock()

    def advance(self, items: int = 1, **shown: float) -> None:
        """Counts ``items`` as done; a minute after the last line, says how far it has come."""
        self._done += items
        self._figures = shown or self._figures
        # After the last item the end is said at once.
        if self._done != self._total and self._clock() - self._said > _BETWEEN_LINES:
            self.say("going on")

    def say(self, state: str) -> None:
        """Prints a line."""
        self._said = self._clock()
        of = "" if self._total is None else f" of {self._total}"
        figures = "".join(f", {k} {v:.3g}" for k, v in self._figures.items())
        seconds = self._said - self._start
        print(f"{self._title}: {state}, {self._done}{of}, {seconds:.0f} s{figures}", flush=True)
