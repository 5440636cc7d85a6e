"""Devices by the names that users give them, and what a GPU does beside other work."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from activeindex.errors import InputError, reason_of

_Put = TypeVar("_Put")


def on_device(name: str, put: Callable[[torch.device], _Put]) -> _Put:
    """What ``put`` makes on a device; whether that can be used is only known by using it.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` takes a GPU if there is one.
        put: Called with the device.

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
    """Lets a GPU do what this thread asks for beside what others ask for.

    Yields:
        What a thread calls to ask for its part in the same order.
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
    """Tensors on a device; a GPU gets the next one while it works on those before."""
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
