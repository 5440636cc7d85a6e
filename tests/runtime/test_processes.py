"""Jobs whose items are shared out over processes of this machine."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.processes import ProcessEngine
from activeindex.runtime.workers import LocalEngine
from tests.runtime.ray_jobs import Errors


@dataclass(frozen=True)
class Told:
    """What an item came to, where, and with how many threads."""

    value: int
    process: int
    threads: int
    gpus: str | None


@dataclass(frozen=True)
class Adding:
    """A job that adds something, refuses threes, dies of fours, and takes its time."""

    amount: int
    seconds: float = 0.0

    def __call__(self, items: Sequence[int], workers: LocalEngine) -> Iterator[Told]:
        for item in items:
            if item == 3:
                raise InputError("three: expected another number")
            if item == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            yield Told(
                item + self.amount,
                os.getpid(),
                torch.get_num_threads(),
                os.environ.get("CUDA_VISIBLE_DEVICES"),
            )


def test_the_results_come_in_order_from_processes_of_one_thread_without_a_gpu() -> None:
    with ProcessEngine(2) as processes:
        told = list(processes.run(Adding(5, 0.05), range(10, 30)))
    assert [each.value for each in told] == list(range(15, 35))
    assert {(each.threads, each.gpus) for each in told} == {(1, "")}
    assert len({each.process for each in told} - {os.getpid()}) == 2


def test_one_job_after_another() -> None:
    processes = ProcessEngine(2)
    for amount in (1, 2):
        assert [each.value for each in processes.run(Adding(amount), [10])] == [10 + amount]
    assert list(processes.run(Adding(1), [])) == []


def test_an_error_comes_as_it_is_after_the_results_before_it() -> None:
    results = ProcessEngine(2).run(Adding(0), [1, 2, 3, 5])
    assert [next(results).value, next(results).value] == [1, 2]
    with pytest.raises(InputError, match=r"^three: expected another number$"):
        next(results)


def test_an_error_that_is_a_result_ends_nothing() -> None:
    assert list(map(str, ProcessEngine(2).run(Errors(), [1, 2]))) == ["1: a result", "2: a result"]


def test_a_killed_process_is_told_on_one_line() -> None:
    with pytest.raises(ActiveIndexError, match=r"worker process ended abruptly") as caught:
        list(ProcessEngine(2).run(Adding(0), range(4, 9)))
    assert "\n" not in str(caught.value)


def test_results_that_are_left_half_way_are_not_waited_for() -> None:
    results = ProcessEngine(2).run(Adding(0, 30.0), range(10, 20))
    start = time.monotonic()
    with pytest.raises(TimeoutError), alarm(3):
        next(results)
    assert time.monotonic() - start < 15


@dataclass(frozen=True)
class Talking:
    """A job whose answers take a while to be told."""

    def __call__(self, items: Sequence[int], workers: LocalEngine) -> Iterator[bytes]:
        yield from (bytes(30_000_000) for _ in items)


def test_a_process_that_is_ended_within_its_answer_leaves_nobody_waiting() -> None:
    with alarm(60):
        for moment in range(10):
            results = ProcessEngine(2).run(Talking(), range(20))
            next(results)
            time.sleep(moment * 0.01)
            results.close()  # type: ignore[attr-defined]


class alarm:  # noqa: N801, like a function
    """Raises TimeoutError in the main thread, as Ctrl-C raises its own."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        def ring(*_: object) -> None:
            raise TimeoutError

        self.before = signal.signal(signal.SIGALRM, ring)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


def test_no_process_is_refused() -> None:
    with pytest.raises(InputError, match=r"^workers: expected 1 or more, found 0$"):
        ProcessEngine(0)
