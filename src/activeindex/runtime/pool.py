"""Engines and the local worker pool.

A long function describes its work as a :class:`Job` over items and hands it to an :class:`Engine`,
which yields the results in order; the function alone writes them down, so every engine leaves the
same files. :class:`LocalEngine` is the engine of this machine, and
:class:`~activeindex.runtime.ray_workers.RayWorkers` that of a Ray cluster.
"""

import atexit
import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.parallel import iterate_in_thread
from activeindex.runtime.search_path import modules_of_current_folder, without_current_folder

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_Given = TypeVar("_Given", contravariant=True)
_Gives = TypeVar("_Gives", covariant=True)

# Results kept ready per worker, which bounds the memory however long the input is.
_AHEAD = 4

_log = logging.getLogger(__name__)


class Job(Protocol[_Given, _Gives]):
    """Function over the items of a long computation; picklable and self-contained.

    It carries what every worker loads once (an extractor, a quantiser). The result of an item
    depends on the job and the item alone: neither on earlier items nor on the worker.
    """

    def __call__(self, items: Sequence[_Given], workers: "LocalEngine") -> Iterator[_Gives]:
        """Yield the result of each item, in order.

        Args:
            items: The items, some of which may be begun ahead.
            workers: Worker pool that decodes and edits.
        """


class Engine(Protocol):
    """Executor of jobs."""

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Yield the result of each item, in order, a bounded number ahead.

        An :class:`ActiveIndexError` of the job is raised here, after the results before it.
        """


class LocalEngine(contextlib.AbstractContextManager["LocalEngine"]):
    """Pool of worker processes on this machine.

    Jobs run in this process, and their workers decode and edit images; that serves a GPU. A
    *sharded* engine runs jobs in its workers instead, each on an item at a time with one thread:
    the fastest way to use the cores of a CPU, and the last bits of a feature, which depend on the
    number of threads, are the same on any number of cores.

    What cannot be pickled, or is defined in the user's script or notebook, runs in this process.

    Args:
        count: Number of worker processes; 0 computes everything in this process.
        sharded: Run jobs in the workers.

    Raises:
        InputError: If ``count`` is negative.

    Example:
        >>> with LocalEngine(2) as workers:
        ...     list(workers.map(abs, [-1, 2, -3]))
        [1, 2, 3]
    """

    def __init__(self, count: int = 0, *, sharded: bool = False) -> None:
        if count < 0:
            raise InputError(f"workers: expected 0 or more, found {count}")
        self.count = count if hasattr(os, "fork") and sys.executable else 0
        self.sharded = sharded
        self._pool: _Pool | None = None

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Run a job; see :class:`Engine`. The workers of a sharded engine end with it.

        A single item is computed here, sooner than a worker starts.

        Raises:
            ActiveIndexError: If a worker process dies.
        """
        if self.sharded and len(items) == 1:
            return job(items, LocalEngine())
        if self.count and self.sharded and (function := _Function.of(_OneItem(job), job)):
            results = self._results(function, items, _AHEAD * self.count)
            return iterate_in_thread(results, leave=self.close)
        return job(items, self)

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int = 0
    ) -> Iterator[_Result]:
        """Yield ``function(item)`` in the order of ``items``, a bounded number ahead.

        Args:
            function: A module-level function or a ``functools.partial`` of one.
            items: Arguments, taken from their iterator in another thread.
            ahead: Number of results kept ready, where that is more than a few per worker: as many
                as the caller takes at once before it is busy for long.

        Raises:
            ActiveIndexError: If a worker process dies.
        """
        if self.count and (sent := _Function.of(function, function)):
            return iterate_in_thread(self._results(sent, items, max(_AHEAD * self.count, ahead)))
        return map(function, items)

    def _results(
        self, function: "_Function", items: Iterable[Any], limit: int
    ) -> Generator[Any, None, None]:
        self._pool = pool = self._pool or _Pool(self.count)
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.threads.submit(pool.call, function, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the workers, whatever they are doing; a later call starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pool:
    """Workers, and a thread for each; closed once.

    Attributes:
        threads: The threads.
    """

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count)
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._closed = False

    def call(self, function: "_Function", item: Any) -> Any:
        """Have an idle worker compute one result."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker(function.module)
            self._workers.add(worker)
            if self._closed:  # Meanwhile, and without this worker.
                worker.end()
        try:
            fine, answer = worker.call(function, item)
        except (EOFError, OSError):
            self._workers.discard(worker)
            raise _ended() from None
        self._idle.append(worker)
        if not fine:
            raise answer
        return answer

    def close(self) -> None:
        """End the workers, and the calls that wait for them."""
        self._closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.end()


@dataclass(frozen=True)
class _OneItem:
    """Result of a job for one item."""

    job: Job[Any, Any]

    def __call__(self, item: Any) -> Any:
        return next(iter(self.job([item], LocalEngine())))


@dataclass(frozen=True, eq=False)
class _Function:
    """Pickled function, with the name of the module that a worker imports for it."""

    setup: bytes
    module: str

    @classmethod
    def of(cls, function: Callable[[Any], Any], named: Any) -> "_Function | None":
        """Pickle a function; None, with a warning, where no worker could load it."""
        named = getattr(named, "func", named)
        module = getattr(named, "__module__", None) or ""
        try:
            pickled = pickled_for_workers(function)
            path, files = without_current_folder(sys.path), modules_of_current_folder()
            return cls(pickle.dumps((str(Path.cwd()), path, files, pickled)), module)
        except Exception as error:  # Objects refuse to be pickled with anything.
            name = getattr(named, "__qualname__", type(named).__qualname__)
            _log.warning("%s runs in this process, without workers: %s", name, error)
            return None


def pickled_for_workers(value: object) -> bytes:
    """Pickle a value that a worker process can load.

    Raises:
        Exception: Of any type, if it cannot be pickled, or is defined in a script or notebook.
    """
    pickled = pickle.dumps(value)
    if b"__main__" in pickled:
        raise ValueError("it is defined in a script or notebook")
    return pickled


class _Worker:
    """A worker process, and the connection to it."""

    def __init__(self, module: str) -> None:
        from multiprocessing.connection import Connection

        self._socket, there = socket.socketpair()
        self._connection: Connection[Any, Any] = Connection(os.dup(self._socket.fileno()))
        self._function: _Function | None = None
        with there:
            _request_worker(there, module)

    def call(self, function: _Function, item: Any) -> tuple[bool, Any]:
        """Return True and the result of an item, or False and the error."""
        pickled = pickle.dumps(item)
        self._connection.send_bytes(b"" if function is self._function else function.setup)
        self._connection.send_bytes(pickled)
        self._function = function
        answer: tuple[bool, Any] = pickle.loads(self._connection.recv_bytes())
        return answer

    def end(self) -> None:
        """End the process, and a call that waits for it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class WorkerProcess(contextlib.AbstractContextManager["WorkerProcess"]):
    """One worker process, asked one item at a time, and ended when it takes too long.

    Args:
        function: Function of an item; it must be picklable, as in :meth:`LocalEngine.map`.

    Example:
        >>> with WorkerProcess(abs) as worker:
        ...     worker.call(-3, seconds=60)
        3
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        sent = _Function.of(function, getattr(function, "__class__", function))
        if sent is None:
            raise InputError(f"{function}: expected a function that a worker process can load")
        self._function = sent
        self._worker: _Worker | None = None

    def call(self, item: Any, seconds: float) -> Any:
        """Return the result of an item; the process is started where there is none.

        Raises:
            TimeoutError: If it takes longer; the process is ended.
            ActiveIndexError: If the process dies.
        """
        worker = self._worker = self._worker or _Worker(self._function.module)
        late = threading.Event()

        def end() -> None:
            late.set()
            worker.end()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            fine, answer = worker.call(self._function, item)
        except (EOFError, OSError):
            self._worker = None
            if late.is_set():
                raise TimeoutError(f"no answer within {seconds:g} s") from None
            raise _ended() from None
        finally:
            timer.cancel()
        if not fine:
            raise answer
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def __exit__(self, *_: object) -> None:
        self.close()


_server: tuple["subprocess.Popen[bytes]", socket.socket] | None = None
_server_lock = threading.Lock()


def _ended() -> ActiveIndexError:
    """The error of a worker process that ended without an answer."""
    code = _server[0].poll() if _server else None
    if code is not None and code > 0:
        return ActiveIndexError(
            f"worker processes: expected {sys.executable} to start them, found its exit code "
            f"{code}; --workers 0 goes without them"
        )
    return ActiveIndexError(
        "a worker process ended abruptly (killed, perhaps for lack of memory); start the same "
        "command again to go on, with fewer --workers if it repeats"
    )


def _request_worker(connection: socket.socket, module: str) -> None:
    """Send the server the connection of a new worker.

    The server is started where there is none; one that is killed meanwhile closes the connection.
    """
    global _server
    with _server_lock:
        if _server is None or _server[0].poll() is not None:
            _server = _start_server()
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(_server[1], [module.encode() or b"-"], [connection.fileno()])


def _start_server() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    here, there = socket.socketpair()
    program = (
        "import sys; sys.path[:] = sys.argv[2:];"
        "from activeindex.runtime.worker import serve; serve(int(sys.argv[1]))"
    )
    path = without_current_folder(sys.path)
    command = [sys.executable, "-P", "-c", program, str(there.fileno()), *filter(None, path)]
    # Stopping is for the main process; blocked, signals stay so in all that the server starts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with there:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                cwd=os.sep,  # Where empty parts of PYTHONPATH lead before the path is set.
                pass_fds=(there.fileno(),),
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    atexit.register(_end_server, process, here)
    return process, here


def _end_server(process: "subprocess.Popen[bytes]", requests: socket.socket) -> None:
    requests.close()
    process.kill()
    process.wait()
