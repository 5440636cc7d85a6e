"""Workers on a Ray cluster: every item once, in order, whatever happens to the workers."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.ray_workers import RayWorkers
from tests.runtime.ray_jobs import Errors, Squares


def test_a_killed_worker_costs_no_item_and_none_comes_twice(
    ray_two: RayWorkers, tmp_path: Path
) -> None:
    job, numbers = Squares(tmp_path / "loads"), range(200)
    results = ray_two.run(job, numbers)
    found = [next(results) for _ in range(3)]
    os.kill(found[-1][1], signal.SIGKILL)
    found += results
    assert [square for square, _ in found] == [s for s, _ in LocalEngine().run(job, numbers)]
    loaded = job.loads.read_text().split()
    assert len(loaded) == len({*loaded})
    assert {str(process) for _, process in found} <= {*loaded}
    assert str(os.getpid()) not in loaded


def test_an_item_that_ends_every_worker_is_told_on_one_line(
    ray_two: RayWorkers, tmp_path: Path
) -> None:
    results = ray_two.run(Squares(tmp_path / "loads", deadly=3), range(6))
    with pytest.raises(
        ActiveIndexError, match=r"^a worker ended abruptly, as did 3 others"
    ) as said:
        list(results)
    assert "\n" not in str(said.value)


def test_an_error_of_the_job_arrives_as_it_is_after_the_items_before_it(
    ray_two: RayWorkers, tmp_path: Path
) -> None:
    results = ray_two.run(Squares(tmp_path / "loads", refused=7), range(20))
    assert [next(results)[0] for _ in range(7)] == [number * number for number in range(7)]
    with pytest.raises(InputError, match=r"^7: expected another number$"):
        next(results)


def test_an_error_that_is_a_result_ends_nothing(ray_two: RayWorkers) -> None:
    assert list(map(str, ray_two.run(Errors(), [1, 2]))) == ["1: a result", "2: a result"]


def test_a_job_that_was_left_half_way_holds_no_workers(ray_two: RayWorkers, tmp_path: Path) -> None:
    left = ray_two.run(Squares(tmp_path / "left"), range(100))
    assert next(left)[0] == 0
    others = ray_two.run(Squares(tmp_path / "others"), range(20))
    assert [square for square, _ in others] == [number * number for number in range(20)]
    assert list(left) == []


def test_no_items_start_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    assert list(RayWorkers(address="127.0.0.1:1").run(Squares(tmp_path / "loads"), [])) == []
    assert time.monotonic() - began < 1


def test_more_cpus_than_a_machine_has_are_refused(ray_two: RayWorkers, tmp_path: Path) -> None:
    list(ray_two.run(Squares(tmp_path / "loads"), range(1)))
    with pytest.raises(InputError, match=r"^worker_cpus: expected at most the \d+ CPUs .* 4096$"):
        list(RayWorkers(cpus=4096).run(Squares(tmp_path / "loads"), range(3)))


@pytest.mark.parametrize("name", ["ray_workers", "worker_cpus"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: expected 1 or more, found 0$"):
        RayWorkers(count=0) if name == "ray_workers" else RayWorkers(cpus=0)


def test_a_job_that_cannot_be_pickled_is_refused_before_anything_starts() -> None:
    def job(items: Sequence[int], workers: LocalEngine) -> Iterator[int]:
        yield from items

    with pytest.raises(InputError, match=r"^engine ray: .* can be pickled \(.*job"):
        list(RayWorkers(address="127.0.0.1:1").run(job, [1]))


def test_a_job_that_no_worker_can_import_is_refused(
    ray_two: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "only_here", ModuleType("only_here"))
    monkeypatch.setattr(sys.modules["only_here"], "Errors", Errors, raising=False)
    monkeypatch.setattr(Errors, "__module__", "only_here")
    with pytest.raises(InputError, match=r"^engine ray: .* workers can import \(.*only_here"):
        list(ray_two.run(Errors(), [1]))
