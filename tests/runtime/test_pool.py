"""The worker pool of this machine: maps, and jobs whose items are shared out over processes."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime import pool
from activeindex.runtime.pool import LocalEngine
from tests.runtime.ray_jobs import Errors


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


class TwoPartError(Exception):
    """An error that is pickled, but cannot be read back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def fail(number: int) -> int:
    errors = [TwoPartError("of", "two"), SystemExit(3), OSError(threading.Lock()), KeyError("key")]
    raise errors[number]


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
    with LocalEngine(2, sharded=True) as processes:
        told = list(processes.run(Adding(5, 0.05), range(10, 30)))
    assert [each.value for each in told] == list(range(15, 35))
    assert {(each.threads, each.gpus) for each in told} == {(1, "")}
    assert len({each.process for each in told} - {os.getpid()}) == 2


def test_one_job_after_another() -> None:
    processes = LocalEngine(2, sharded=True)
    for amount in (1, 2):
        assert [each.value for each in processes.run(Adding(amount), [10])] == [10 + amount]
    assert list(processes.run(Adding(1), [])) == []


def test_an_error_comes_as_it_is_after_the_results_before_it() -> None:
    results = LocalEngine(2, sharded=True).run(Adding(0), [1, 2, 3, 5])
    assert [next(results).value, next(results).value] == [1, 2]
    with pytest.raises(InputError, match=r"^three: expected another number$"):
        next(results)


def test_an_error_that_is_a_result_ends_nothing() -> None:
    assert list(map(str, LocalEngine(2, sharded=True).run(Errors(), [1, 2]))) == [
        "1: a result",
        "2: a result",
    ]


def test_a_killed_process_is_told_on_one_line() -> None:
    with pytest.raises(ActiveIndexError, match=r"worker process ended abruptly") as caught:
        list(LocalEngine(2, sharded=True).run(Adding(0), range(4, 9)))
    assert "\n" not in str(caught.value)


def test_results_that_are_left_half_way_are_not_waited_for() -> None:
    results = LocalEngine(2, sharded=True).run(Adding(0, 30.0), range(10, 20))
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
            results = LocalEngine(2, sharded=True).run(Talking(), range(20))
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process")
def test_a_process_that_is_bound_to_one_core_has_one_worker() -> None:
    core = min(os.sched_getaffinity(0))
    command = (
        f"import os; os.sched_setaffinity(0, [{core}]);"
        "from activeindex.runtime.cores import default_workers; print(default_workers())"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
    assert done.stdout == b"1\n"


def run_script(tmp_path: Path, script: str, name: str | None = "script.py") -> str:
    """Output of a script without a main guard; without a name, of one from standard input."""
    command = [sys.executable, "-" if name is None else name]
    if name is not None:
        (tmp_path / name).write_text(script)
    done = subprocess.run(
        command,
        input=script if name is None else None,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["script.py", None], ids=["file", "standard input"])
def test_a_script_needs_no_main_guard(tmp_path: Path, name: str | None) -> None:
    script = """
from activeindex.runtime.pool import LocalEngine

print("begun")
with LocalEngine(2) as workers:
    print(list(workers.map(abs, [-1, -2])))
"""
    assert run_script(tmp_path, script, name) == "begun\n[1, 2]\n"


@pytest.mark.parametrize("sharded", [False, True])
def test_functions_of_a_script_run_in_its_process_with_a_line(
    tmp_path: Path, sharded: bool
) -> None:
    script = f"""
import os
from activeindex.runtime.pool import LocalEngine

def process(number):
    return os.getpid()

class Job:
    def __call__(self, items, workers):
        yield from workers.map(process, items)

with LocalEngine(2, sharded={sharded}) as workers:
    print({{*workers.map(process, [1, 2])}} == {{*workers.run(Job(), [1, 2])}} == {{os.getpid()}})
"""
    first, *lines = run_script(tmp_path, script).splitlines()
    assert first == "True"
    said = "process runs in this process, without workers: it is defined in a script or notebook"
    assert said in lines


class _Pointer:
    def __call__(self, _: object) -> int:
        return os.getpid()

    def __reduce__(self) -> str | tuple[object, ...]:
        raise ValueError("ctypes objects containing pointers cannot be pickled")


def test_an_object_may_refuse_to_be_pickled_with_any_error() -> None:
    with LocalEngine(1) as workers:
        assert list(workers.map(_Pointer(), range(2))) == [os.getpid()] * 2


def test_what_cannot_be_pickled_runs_in_this_process_with_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with LocalEngine(2) as workers:
        processes = workers.map(lambda _: os.getpid(), range(3))
        assert {*processes} == {os.getpid()}
    assert len(caplog.messages) == 1
    assert "<lambda> runs in this process, without workers: Can't pickle" in caplog.text


def test_workers_do_not_import_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('shadowed')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from activeindex.runtime.pool import LocalEngine\n"
        "with LocalEngine(1) as workers:\n"
        "    print(list(workers.map(abs, [-1])))\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[1]\n", "")


def test_workers_are_where_the_main_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalEngine(1) as workers:
        for folder in (tmp_path, tmp_path.parent):
            monkeypatch.chdir(folder)
            assert list(workers.map(os.path.abspath, ["name"])) == [str(folder / "name")]


def test_a_long_folder_for_temporary_files_is_no_obstacle(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 100)
    long.mkdir()
    script = f"""
import os
os.environ["TMPDIR"] = {str(long)!r}
from activeindex.runtime.pool import LocalEngine
with LocalEngine(1) as workers:
    print(list(workers.map(abs, [-1])))
"""
    assert run_script(tmp_path, script) == "[1]\n"


def test_a_server_that_is_killed_is_told_on_one_line_and_replaced() -> None:
    with LocalEngine(1) as workers:
        assert list(workers.map(abs, [-1])) == [1]
        server = pool._server
        assert server is not None
        server[0].kill()
        server[0].wait()
    with LocalEngine(1) as workers:
        assert list(workers.map(abs, [-1])) == [1]
    stopped = pool._server
    assert stopped is not None
    stopped[0].send_signal(signal.SIGSTOP)
    with LocalEngine(1) as workers:
        results = workers.map(abs, [-1])
        threading.Timer(0.5, stopped[0].kill).start()
        with pytest.raises(ActiveIndexError, match=r"worker process ended abruptly"):
            next(results)


def test_a_pool_works_in_a_thread() -> None:
    def compute() -> list[int]:
        with LocalEngine(2) as workers:
            return list(workers.map(abs, range(-3, 0)))

    with ThreadPoolExecutor(2) as threads:
        assert [each.result() for each in [threads.submit(compute) for _ in range(2)]] == [
            [3, 2, 1]
        ] * 2


def test_errors_of_the_function_have_the_traceback_of_the_worker() -> None:
    with LocalEngine(1) as workers, pytest.raises(ValueError, match="invalid literal") as caught:
        list(workers.map(int, ["x"]))
    assert "worker.py" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("number", range(4))
def test_an_error_that_cannot_be_sent_is_no_killed_worker(two: LocalEngine, number: int) -> None:
    with pytest.raises(Exception, match=r"of two|SystemExit: 3|lock|key") as caught:
        list(two.map(fail, [number]))
    assert not isinstance(caught.value, ActiveIndexError)
    assert list(two.map(square, [3])) == [9]


def test_a_pool_that_is_closed_while_it_works_starts_afresh() -> None:
    with LocalEngine(2) as workers:
        for _ in range(20):
            results = workers.map(square, range(100))
            assert next(results) == 0
            workers.close()
        assert list(workers.map(square, range(10))) == [number**2 for number in range(10)]
