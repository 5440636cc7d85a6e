"""Who computes: this process with helpers, others beside it, or workers elsewhere.

A long function describes its work as a :class:`Job` over numbered items and hands it to an
:class:`Engine`, which gives the results back in order; the function alone writes them down, so
that every engine writes the same. :class:`LocalEngine` is the engine in this process,
:class:`~activeindex.runtime.processes.ProcessEngine` shards the items over others on this machine,
and :class:`~activeindex.runtime.ray_workers.RayWorkers` over a Ray cluster.

In this process, the extractor would starve while images are decoded, resized and edited: that is
what worker processes are for.
Workers come from a fork server that has imported nothing but the modules they need: forking the
main process instead would copy its FAISS and PyTorch thread pools in an undefined state.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Protocol, TypeVar

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.closing import Closing
from activeindex.runtime.threads import iterate_in_thread

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_Given = TypeVar("_Given", contravariant=True)
_Gives = TypeVar("_Gives", covariant=True)

_AHEAD = 4
"""Results kept ready per worker; bounds the memory however long the input is."""


DIED = (
    "a worker process ended abruptly (killed for lack of memory?); start the same command again to "
    "go on, with fewer --workers if it repeats"
)
"""What is said of a worker process that was killed."""


@dataclass(frozen=True)
class Ended:
    """The error that ended a job elsewhere, on its way back: results may be errors, too."""

    error: Exception


class Job(Protocol[_Given, _Gives]):
    """What is done with the items of a long function; picklable, and whole in itself.

    It carries what every worker loads once (an extractor, a quantiser). The result of an item
    depends on nothing but the job and the item: neither on the items before it nor on the worker.
    """

    def __call__(self, items: Sequence[_Given], workers: "LocalEngine") -> Iterator[_Gives]:
        """Yields the result of each item, in order.

        Args:
            items: Of which some may be begun ahead.
            workers: Processes that decode and edit.
        """


class Engine(Protocol):
    """Who carries out jobs."""

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Yields the result of each item, in order, a bounded number ahead.

        What the job raises as :class:`ActiveIndexError` is raised here, after the results of the
        items before it.
        """


def start_worker() -> None:
    """One thread per worker, Ctrl-C left to the main process, and no life after its end."""
    import signal
    import threading

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def worker_context(*modules: str) -> BaseContext:
    """Where worker processes come from; see the module.

    Args:
        modules: That they need as well, if they are the first to be started.
    """
    method = "forkserver" if os.name == "posix" else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["torch", "faiss", "PIL.Image", *modules])
        _start_server()
    return context


def _start_server() -> None:
    """Starts what forks workers, deaf to Ctrl-C as they are, from before its first import."""
    import signal
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # Started below, it would unblock the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """A main process that was killed closes no queue: its workers would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


class LocalEngine(Closing):
    """A pool of processes that maps a function over items, in order.

    Args:
        count: How many processes; 0 computes in the calling process, item by item.

    Raises:
        InputError: If ``count`` is negative.
    """

    def __init__(self, count: int = 0) -> None:
        if count < 0:
            raise InputError(f"workers: expected 0 or more, found {count}")
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Carries out a job in this process; see :class:`Engine`."""
        return job(items, self)

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int = 0
    ) -> Iterator[_Result]:
        """Yields ``function(item)`` in the order of ``items``, a bounded number ahead.

        ``function`` and the items are pickled to the workers: a module-level function or a
        ``functools.partial`` of one. The items are drawn in a thread of their own.

        Args:
            function: What is computed.
            items: Of what.
            ahead: How many results are kept ready, if that is more than a few per process: what
                the caller takes at once before it is busy for long, so that nobody waits.

        Raises:
            ActiveIndexError: If a worker process dies.
        """
        if self.count == 0:
            return map(function, items)
        return iterate_in_thread(self._map(function, items, max(_AHEAD * self.count, ahead)))

    def _map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], limit: int
    ) -> Generator[_Result]:
        pool = self._start()
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            self.close()
            raise ActiveIndexError(DIED) from None
        finally:
            for future in waiting:
                future.cancel()

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=worker_context(), initializer=start_worker
            )
        return self._pool

    def close(self) -> None:
        """Stops the processes; a later :meth:`map` starts them again."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
