"""Work in threads: a generator in another thread, one function on many arguments; batches.

Python raises ``KeyboardInterrupt`` between any two instructions of the main thread, also right
after it acquires one of the locks inside ``concurrent.futures`` and ``queue``. The lock then stays
taken, and closing the pool never returns. Other threads are never interrupted, so a generator that
waits for such a lock runs in one.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

_Value = TypeVar("_Value")


def iterate_in_thread(
    results: Generator[_Value], leave: Callable[[], object] = lambda: None
) -> Iterator[_Value]:
    """Run a generator in another thread, one step per request.

    Interrupted or closed early, it closes the generator and waits for its end.

    Args:
        results: The generator.
        leave: Called first at the end, to stop whatever the generator waits for.
    """
    # A SimpleQueue has one lock of the interpreter's own, which no exception leaves taken.
    requests: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def answer() -> None:
        with closing(results):
            while requests.get():
                try:
                    answers.put((True, next(results)))
                except BaseException as error:
                    answers.put((False, error))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        while True:
            requests.put(True)
            fine, value = answers.get()
            if fine:
                yield value
            elif isinstance(value, StopIteration):
                return
            else:
                raise value
    finally:
        leave()
        requests.put(False)
        thread.join()


def batches_of(items: Sequence[_Value], size: int) -> list[Sequence[_Value]]:
    """Split items into batches of at most ``size``, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


class Mapper(Protocol):
    """Function with the signature of ``map``."""

    def __call__(self, function: Callable[..., _Value], *arguments: Sequence[Any]) -> list[_Value]:
        """Return the results in order."""


def one_by_one(function: Callable[..., _Value], *arguments: Sequence[Any]) -> list[_Value]:
    """Map in sequence."""
    return list(map(function, *arguments))


@dataclass(frozen=True)
class ThreadMapper:
    """Map in several threads at once.

    It leaves PyTorch with one thread for each operation; see :func:`threads_kept`.

    Attributes:
        threads: Number of threads.
        begin: Called first in every thread.
    """

    threads: int
    begin: Callable[[], None]

    def __call__(self, function: Callable[..., _Value], *arguments: Sequence[Any]) -> list[_Value]:
        """Return the results in order."""

        def results() -> Generator[_Value]:
            with ThreadPoolExecutor(self.threads, initializer=self._begin) as pool:
                yield from pool.map(function, *arguments)

        return list(iterate_in_thread(results()))

    def _begin(self) -> None:
        import torch

        torch.set_num_threads(1)  # The threads themselves use the cores.
        self.begin()


@contextmanager
def threads_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads at the end of the block."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
