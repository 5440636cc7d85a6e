import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.workers import LocalEngine


def square(number: int) -> int:
    return number * number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise InputError("three: expected another number")
    return number


@pytest.fixture(scope="module")
def two() -> Iterator[LocalEngine]:
    with LocalEngine(2) as workers:
        yield workers


def test_two_processes_give_what_none_gives_in_the_same_order(two: LocalEngine) -> None:
    numbers = range(50)
    expected = [number * number for number in numbers]
    assert list(two.map(square, numbers)) == expected
    assert list(LocalEngine(0).map(square, numbers)) == expected


def test_an_endless_input_is_read_only_a_little_ahead(two: LocalEngine) -> None:
    taken = itertools.count()
    results = two.map(square, (next(taken) for _ in itertools.repeat(None)))
    assert list(itertools.islice(results, 5)) == [0, 1, 4, 9, 16]
    assert next(taken) < 5 + 10 * two.count


def test_as_many_results_are_kept_ready_as_are_asked_for(two: LocalEngine) -> None:
    taken = itertools.count()
    results = two.map(square, (next(taken) for _ in itertools.repeat(None)), ahead=100)
    assert next(results) == 0
    assert next(taken) == 100


def test_no_process_reads_nothing_ahead() -> None:
    taken = itertools.count()
    results = LocalEngine(0).map(square, (next(taken) for _ in itertools.repeat(None)))
    assert list(itertools.islice(results, 5)) == [0, 1, 4, 9, 16]
    assert next(taken) == 5


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_of_the_function_arrives_as_it_is(count: int) -> None:
    with LocalEngine(count) as workers:
        results = workers.map(refuse_three, range(10))
        with pytest.raises(InputError, match=r"^three: expected another number$"):
            list(results)


def test_a_killed_worker_is_told_on_one_line_and_replaced_on_the_next_use() -> None:
    with LocalEngine(2) as workers:
        with pytest.raises(ActiveIndexError, match=r"worker process ended abruptly") as caught:
            list(workers.map(die_at_three, range(10)))
        assert "\n" not in str(caught.value)
        assert "--workers" in str(caught.value)
        assert list(workers.map(square, range(3))) == [0, 1, 4]


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(InputError, match=r"^workers: expected 0 or more, found -1$"):
        LocalEngine(-1)


def test_ctrl_c_right_after_a_lock_was_taken_leaves_nobody_waiting() -> None:
    script = Path(__file__).with_name("interrupted.py")
    done = subprocess.run([sys.executable, script], timeout=120, check=True, capture_output=True)
    assert int(done.stdout) >= 1
