"""Processes on this machine, each with one thread, that carry out whole items of a job.

On a CPU that is the faster way to use its cores: the layers of a network that sees one image, or a
few, are too small to share out among threads that wait for each other after each of them, while an
item per core waits for nobody. And what a feature comes to in its last bits depends on the number
of threads, so it is the same on any number of cores.
"""

import os
import pickle
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.threads import iterate_in_thread
from activeindex.runtime.workers import DIED, Ended, Job, LocalEngine, start_worker, worker_context

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 2
"""Items that a process has at a time, so that it is not idle while results are written down."""


class ProcessEngine(AbstractContextManager["ProcessEngine"]):
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
        """Carries out a job; see :class:`~activeindex.runtime.workers.Engine`.

        Each process loads the pickled job once. They end with the results, or at once when these
        are left half-way.

        Raises:
            ActiveIndexError: If a process dies.
        """
        crew = _Crew(job, min(self.count, len(items)))
        return iterate_in_thread(crew.results(items), leave=crew.leave)

    def __exit__(self, *_: object) -> None:
        """Nothing is left to be stopped: the processes of a job end with it."""


class _Crew:
    """The processes of one job.

    A pool of ``concurrent.futures`` would not do: its processes answer through one pipe, and one
    that is ended within an answer leaves the reader waiting for the rest.
    """

    def __init__(self, job: Job[Any, Any], count: int) -> None:
        self._context = worker_context(type(job).__module__)
        self._job = pickle.dumps(job)
        self._count = count
        self._processes: list[BaseProcess] = []
        self._left = False

    def results(self, items: Sequence[Any]) -> Generator[Any]:
        """Yields the result of each item, in order."""
        try:
            # What each process has to do, by the places of the items.
            busy: dict[Connection, list[int]] = {self._start(): [] for _ in range(self._count)}
            answers: dict[int, Any] = {}
            handed = 0
            for place in range(len(items)):
                while place not in answers:
                    for process, places in sorted(busy.items(), key=lambda each: len(each[1])):
                        # Nobody gets far ahead of one that takes long.
                        most = min(len(items), place + 2 * _AHEAD * self._count)
                        if len(places) < _AHEAD and handed < most:
                            _hand(process, items[handed])
                            places.append(handed)
                            handed += 1
                    if self._left:
                        return
                    ready = wait([each for each, places in busy.items() if places])
                    for process in [each for each in busy if each in ready]:
                        answers[busy[process].pop(0)] = _heard(process)
                answer = answers.pop(place)
                if isinstance(answer, Ended):
                    raise answer.error
                yield answer
        finally:
            self.leave()
            for each in self._processes:
                each.join()

    def _start(self) -> Connection:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._job, there), daemon=True)  # type: ignore[attr-defined]
        try:
            process.start()
        except OSError:
            raise ActiveIndexError(DIED) from None
        self._processes.append(process)
        there.close()  # So that the end of the process is the end of what it says.
        return here

    def leave(self) -> None:
        """Ends the processes, whatever they are at."""
        self._left = True
        for process in list(self._processes):
            process.kill()


def _hand(process: Connection, item: Any) -> None:
    try:
        process.send(item)
    except OSError:
        raise ActiveIndexError(DIED) from None


def _heard(process: Connection) -> Any:
    try:
        return process.recv()
    except (EOFError, OSError):
        raise ActiveIndexError(DIED) from None


def _work(pickled: bytes, there: Connection) -> None:
    """What runs in a process: answers every item with its result, or with the error."""
    import faiss

    start_worker()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # What comes here is to be computed on the CPU.
    faiss.omp_set_num_threads(1)
    items: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(there, items), daemon=True).start()
    job: Job[Any, Any] | None = None
    while True:
        item = items.get()
        try:
            job = job or pickle.loads(pickled)
            answer = next(iter(job([item], LocalEngine(0))))
        except ActiveIndexError as error:
            answer = Ended(error)
        except Exception as error:
            error.add_note(traceback.format_exc())  # Which does not travel.
            answer = Ended(error)
        there.send(answer)


def _receive(there: Connection, items: "SimpleQueue[Any]") -> None:
    """Takes items while others are worked on: who hands them over is not to wait."""
    try:
        while True:
            items.put(there.recv())
    except (EOFError, OSError):
        os._exit(1)
