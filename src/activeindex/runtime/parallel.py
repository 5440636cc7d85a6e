"""Mappers: one function on many arguments, in sequence or in threads."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from activeindex.runtime.threads import iterate_in_thread

_Made = TypeVar("_Made")


class Mapper(Protocol):
    """Function with the signature of ``map``."""

    def __call__(self, function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
        """Return the results in order."""


def one_by_one(function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
    """Map in sequence."""
    return list(map(function, *arguments))


@dataclass(frozen=True)
class ThreadMapper:
    """Maps in several threads at once.

    It leaves PyTorch with one thread for each operation; see :func:`threads_kept`.

    Attributes:
        threads: Number of threads.
        begin: Called first in every thread.
    """

    threads: int
    begin: Callable[[], None]

    def __call__(self, function: Callable[..., _Made], *arguments: Sequence[Any]) -> list[_Made]:
        """Return the results in order."""
        return list(iterate_in_thread(self._called(function, *arguments)))

    def _called(
        self, function: Callable[..., _Made], *arguments: Sequence[Any]
    ) -> Generator[_Made]:
        with ThreadPoolExecutor(self.threads, initializer=self._begin) as pool:
            yield from pool.map(function, *arguments)

    def _begin(self) -> None:
        torch.set_num_threads(1)  # The threads themselves use the cores.
        self.begin()


@contextmanager
def threads_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads at the end of the block."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
