"""Processes on this machine, each with one thread, that carry out whole items of a job.

On a CPU that is the faster way to use its cores: the layers of a network that sees one image, or a
few, are too small to share out among threads that wait for each other after each of them, while an
item per core waits for nobody. And what a feature comes to in its last bits depends on the number
of threads, so it is the same on any number of cores.
"""

import os
import pickle
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

from activeindex.errors import ActiveIndexError, InputError
from activeindex.running.aside import aside
from activeindex.running.workers import DIED, Job, Workers, start_worker, worker_context

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 2
"""Items per process that are begun or wait to be: none is idle while results are written down."""


class Processes:
    """An engine that shards the items of a job over processes; see the module.

    Args:
        count: How many processes.

    Raises:
        InputError: If ``count`` is not positive.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise InputError(f"workers: expected 1 or more, found {count}")
        self.count = count

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Carries out a job; see :class:`~activeindex.running.workers.Engine`.

        Each process loads the pickled job once. They end with the results, or at once when these
        are left half-way.

        Raises:
            ActiveIndexError: If a process dies.
        """
        context = worker_context(type(job).__module__)
        reading, writing = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            min(self.count, max(len(items), 1)),
            mp_context=context,
            initializer=_start,
            initargs=(pickle.dumps(job), reading),
        )
        return aside(_results(pool, items, _AHEAD * self.count), leave=writing.close)

    def close(self) -> None:
        """Nothing is left to be stopped: the processes of a job end with it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _results(pool: ProcessPoolExecutor, items: Sequence[Any], limit: int) -> Generator[Any]:
    waiting: deque[Future[Any]] = deque()
    with pool:
        try:
            for item in items:
                waiting.append(pool.submit(_carry_out, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ActiveIndexError(DIED) from None
        finally:
            for future in waiting:
                future.cancel()


class _Hired:
    """What a process of a pool has been hired for; a pool hands it no other way to its tasks."""

    pickled = b""
    job: Job[Any, Any] | None = None


def _start(job: bytes, left: Connection) -> None:
    import faiss

    start_worker()
    faiss.omp_set_num_threads(1)
    threading.Thread(target=_end_when_left, args=(left,), daemon=True).start()
    _Hired.pickled = job


def _end_when_left(left: Connection) -> None:
    """Nobody writes: there is something to read when the other end has been closed."""
    left.poll(None)
    os._exit(1)


def _carry_out(item: Any) -> Any:
    if _Hired.job is None:
        # Not while the process starts: an error here is the item's, one there ends the pool.
        _Hired.job = pickle.loads(_Hired.pickled)
        _Hired.pickled = b""
    return next(iter(_Hired.job([item], Workers(0))))
