"""Ctrl-C and SIGTERM: workers end, no partial files stay, and one line says what happened."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells have them."""

_IMPORTING = "<frozen importlib._bootstrap>"

_line = "activeindex: interrupted"


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Handle SIGINT and SIGTERM inside the block: the first raises, the second ends the process.

    SIGINT raises KeyboardInterrupt, SIGTERM :class:`Terminated`. While a module is imported, the
    process ends at once instead: libraries swallow the exception there, or raise another. Outside
    the main thread, or where a signal is ignored or handled already, nothing changes.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    changed = {}
    if threading.current_thread() is threading.main_thread():
        changed = {n: handler for n, handler in usual.items() if signal.getsignal(n) == handler}
    for number in changed:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


def announce(name: str, resumes: bool) -> None:
    """Choose the line that is printed when this process is stopped.

    Args:
        name: Name of the command.
        resumes: Whether it continues when it is given again.
    """
    global _line
    next_time = "goes on where it was" if resumes else "begins again"
    _line = f"{name}: interrupted; the same command {next_time}"


def stopped(stop: KeyboardInterrupt) -> int:
    """Print the line of :func:`announce`, and return the exit code."""
    with contextlib.suppress(OSError):
        print(f"\n{_line}", file=sys.stderr, flush=True)
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(stopped(stop))
        frame = frame.f_back
    raise stop
