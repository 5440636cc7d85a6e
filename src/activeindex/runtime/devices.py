"""Devices by name, and GPU streams."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from activeindex.errors import InputError, reason_of

_Result = TypeVar("_Result")


def on_device(name: str, put: Callable[[torch.device], _Result]) -> _Result:
    """Call ``put`` with a device, which shows whether it can be used.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` takes a GPU if there is one.
        put: Function that puts something on the device; its result is returned.

    Raises:
        InputError: If there is no such device, or it cannot be used.
    """
    here = name
    if name == "auto":
        here = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return put(torch.device(here))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: cannot be used ({reason_of(error)})") from None


@contextmanager
def own_stream(device: torch.device) -> Iterator[Callable[[], None]]:
    """Run this thread's work on a GPU concurrently with that of other threads.

    Yields:
        A function by which another thread joins the same stream; does nothing on a CPU.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield lambda: torch.cuda.set_stream(stream)
        stream.synchronize()


def sent(parts: Iterable[torch.Tensor], device: torch.device) -> Iterator[torch.Tensor]:
    """Yield tensors on a device; a GPU receives the next one while it computes."""
    if device.type != "cuda":
        yield from (part.to(device) for part in parts)
        return
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for part in parts:
        with torch.cuda.stream(copies):
            there = part.to(device)
        work = torch.cuda.current_stream(device)
        work.wait_stream(copies)
        there.record_stream(work)
        yield there
