"""Generators in threads, where Ctrl-C cannot leave a lock taken.

Python raises ``KeyboardInterrupt`` between any two instructions of the main thread, also right
after it acquires one of the locks inside ``concurrent.futures`` and ``queue``. The lock then stays
taken, and closing the pool never returns. Other threads are never interrupted.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Yielded(Generic[_Result]):
    value: _Result


@dataclass(frozen=True)
class _Ended:
    error: BaseException | None = None


def iterate_in_thread(
    results: Generator[_Result], leave: Callable[[], object] = lambda: None
) -> Iterator[_Result]:
    """Run a generator in another thread, one step per request.

    Interrupted or closed early, it closes the generator and waits for its end.

    Args:
        results: The generator.
        leave: Called first at the end, to stop whatever the generator waits for.
    """
    # A SimpleQueue has one lock of the interpreter's own, which no exception leaves taken.
    requests: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[_Yielded[_Result] | _Ended] = SimpleQueue()
    thread = threading.Thread(target=_answer, args=(results, requests, answers), daemon=True)
    thread.start()
    try:
        while True:
            requests.put(True)
            answer = answers.get()
            if isinstance(answer, _Yielded):
                yield answer.value
            elif answer.error is not None:
                raise answer.error
            else:
                return
    finally:
        leave()
        requests.put(False)
        thread.join()


def _answer(
    results: Generator[_Result],
    requests: "SimpleQueue[bool]",
    answers: "SimpleQueue[_Yielded[_Result] | _Ended]",
) -> None:
    with closing(results):
        while requests.get():
            try:
                answers.put(_Yielded(next(results)))
            except StopIteration:
                answers.put(_Ended())
            except BaseException as error:
                answers.put(_Ended(error))
