import os

from activeindex.running.cores import default_workers


def test_by_default_there_is_a_worker_per_usable_core() -> None:
    assert default_workers() == len(os.sched_getaffinity(0))
