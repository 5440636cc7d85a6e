"""``main --engine ray``: the files of a run in this process, though a worker is killed midway."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from activeindex.cli import run
from tests.cli.collection import Prepared, contents
from tests.cli.test_killed import commits
from tests.runtime.ray_cluster import Cluster, at_most, mapping_workers, one_thread


class Killer(threading.Thread):
    """Kills a worker of a cluster, really, when a run has committed its first image."""

    def __init__(self, cluster: Cluster, journal: Path) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.journal = journal
        self.killed: list[int] = []

    def run(self) -> None:
        while not self.killed:
            if commits(self.journal) > 0:
                self.killed = mapping_workers(self.cluster)[-1:]
            time.sleep(0.01)
        os.kill(self.killed[0], signal.SIGKILL)


def test_with_a_worker_killed_midway_a_run_has_the_files_of_one_in_this_process(
    ray_cluster: Cluster,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    killer = Killer(ray_cluster, tmp_path / "ray" / "out" / ".run.journal")
    killer.start()
    for name, engine in (("ray", ("--address", ray_cluster.address)), ("in-process", ())):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        options = prepared.main_options(
            idx_dir=tmp_path / "indexes", batch_size=1, batch_size_eval=7, iterations=2, log_freq=1
        )
        with one_thread(), at_most(600):
            assert run(["main", *options, "--engine", name, *engine]) == 0
        found[name] = contents(tmp_path / name / "out")
        assert found[name].pop("times.jsonl").count(b'"activate"') == 4
    assert len(killer.killed) == 1
    assert {"retr_df.csv", "icd_df.csv", "log.jsonl", "imgs/00003.png"} <= {*found["ray"]}
    assert found["ray"] == found["in-process"]
