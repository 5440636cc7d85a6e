"""Progress of everything that takes more than a moment."""

import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self

_REDRAW = 0.2
"""Seconds between two drawings of a bar that does not advance."""


class Progress(Protocol):
    """What a long function reports to: the number of items done, and what to show beside them."""

    def advance(self, items: int = 1, **shown: float | str) -> None:
        """Counts ``items`` as done and shows ``shown``, e.g. the running loss."""


class Silent:
    """Reports nothing; the default of every long function."""

    def advance(self, items: int = 1, **shown: float | str) -> None:
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
        self._bar: Any = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=f" {unit}",
            file=sys.stderr,
            disable=None,  # None: off where standard error is not a terminal.
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def advance(self, items: int = 1, **shown: float | str) -> None:
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
