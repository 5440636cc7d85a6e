"""One function on many things: one after the other, or several at once in threads."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from activeindex.runtime.threads import iterate_in_thread

_Made = TypeVar("_Made")


class Mapper(Protocol):
    """Calls a function as ``map`` does."""

    def __call__(self, function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
        """What it gives for each, in order."""


def one_by_one(function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
    """Calls a function on one thing after the other."""
    return list(map(function, *arguments))


@dataclass(frozen=True)
class ThreadMapper:
    """Calls a function on several things at once.

    PyTorch is left with one thread for what later threads compute; see :func:`threads_kept`.

    Attributes:
        threads: On how many.
        begin: What every thread does first.
    """

    threads: int
    begin: Callable[[], None]

    def __call__(self, function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
        """What it gives for each, in order."""
        return list(iterate_in_thread(self._called(function, *arguments)))

    def _called(
        self, function: Callable[..., _Made], *arguments: Sequence[Any]
    ) -> Generator[_Made]:
        with ThreadPoolExecutor(self.threads, initializer=self._begin) as pool:
            yield from pool.map(function, *arguments)

    def _begin(self) -> None:
        torch.set_num_threads(1)  # Each of them alone has nothing for several cores.
        self.begin()


@contextmanager
def threads_kept() -> Iterator[None]:
    """Gives PyTorch back as many threads as it had, when all that changes them is over."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
