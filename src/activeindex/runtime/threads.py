"""What waits for pools does so in a thread of its own, out of the reach of Ctrl-C.

Python raises ``KeyboardInterrupt`` between any two instructions of the main thread, also right
after it took one of the locks that ``concurrent.futures`` and ``queue`` are made of: the lock then
stays taken, and whoever closes the pool waits without end. Other threads are never interrupted.
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
    """Yields what a generator yields that runs in another thread, a step at each request.

    Interrupted or left half-way, it closes the generator and waits for its end.

    Args:
        results: The generator.
        leave: Called before, so that what the generator waits for comes to an end.
    """
    # Each of the two is one lock of the interpreter's own, which no exception leaves taken.
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
