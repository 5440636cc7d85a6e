"""A writer to be killed: ``python -m tests.stores.killing ADDRESS ACTION``.

Says what it is about to do, then adds batches of ``EACH`` images, or adds and compacts, or adds
parts of a feature file that workers write (``elsewhere``), for ever.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np

from activeindex.extractors.feature_files import read_features
from activeindex.runtime.pool import LocalEngine
from activeindex.stores import ingest
from activeindex.stores.store import Store
from tests.stores.conftest import batch

EACH = 50
PARTS = 40


def main(address: str, action: str) -> None:
    if action == "elsewhere":
        add_elsewhere(address)
        return
    with Store(address) as store:
        number = store.count() // EACH
        print("ready", flush=True)
        while True:
            store.add(batch(EACH, number, f"batch{number}"))
            if action == "compact":
                print("compacting", flush=True)
                store.compact()
            number += 1


def add_elsewhere(address: str) -> None:
    ingest.ROWS = EACH
    images = batch(EACH * PARTS)
    import_module("lance_ray")  # Which takes seconds.
    with tempfile.TemporaryDirectory() as folder, Store(address, LocalEngine()) as store:
        np.save(Path(folder) / "fts.npy", images.features)
        features = read_features(Path(folder) / "fts.npy", "FTS")
        print("ready", flush=True)
        for start in range(0, 1 << 30, len(images)):
            names = [f"{start}-{name}" for name in images.names]
            store.add(features, names)


if __name__ == "__main__":
    main(*sys.argv[1:])
