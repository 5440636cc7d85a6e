"""A writer that is really killed (SIGKILL) leaves a store that can be used."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.store import Store
from tests.stores.conftest import ENGINES, batch, queries
from tests.stores.killing import EACH

KILLS = 2


def kill_a_writer(address: str, action: str, delay: float) -> None:
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.killing", address, action],
        cwd=root,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if line == (b"compacting\n" if action == "compact" else b"ready\n"):
            break
    time.sleep(delay)
    writer.kill()
    writer.wait()
    writer.stdout.close()


@pytest.mark.parametrize(
    ("engine", "action"),
    [*itertools.product(ENGINES, ["add", "compact"]), ("lance://", "elsewhere")],
)
def test_a_killed_writer_leaves_every_batch_whole_or_out(
    engine: str, action: str, tmp_path: Path, trained: TrainedIndex
) -> None:
    address = f"{engine}{tmp_path / 'store'}"
    Store.create(address, trained).close()
    count = 0
    for kill in range(KILLS):
        kill_a_writer(address, action, 0.03 + 0.11 * kill)
        with Store(address) as store:
            assert store.count() >= count
            count = store.count()
            assert count % EACH == 0
            records = store.get(store.select("id >= 0"))
            assert len(records) == count
            assert len({record.name for record in records}) == count
            found = store.search_features(queries(2), max(count, 1), nprobe=16)
            if count:
                assert set(found.ids[0].tolist()) == {record.id for record in records}
                assert np.isfinite(found.distances).all()
    with Store(address) as store:
        store.add(batch(EACH, 0, "after"))
        store.compact()
        assert store.count() == count + EACH
        assert (store.search_features(queries(2), count + EACH, nprobe=16).ids >= 0).all()
