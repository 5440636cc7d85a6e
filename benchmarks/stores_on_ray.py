"""Fill a lance:// store by Ray workers and by one process, on one machine.

Run: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/stores_on_ray.py --work /tmp/on_ray
(196,608 synthetic features of 512 values; about 3 GB in --work.)

Times whole commands, `activeindex store add` and `store compact`, in one process and on Ray in
turn; Ray starts anew for each. Times on a shared machine scatter: compare the ratios of several
rounds, and another --count to see the cost of starting.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from synthetic import BLOCK, block, blocks

ENGINES = {"in-process": (), "ray": ("--engine", "ray")}


def prepare(options: argparse.Namespace) -> None:
    """A trained quantiser, and a feature file with names."""
    from activeindex.extractors.feature_files import read_features
    from activeindex.indexing.artefact import load_or_train

    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    np.save(work / "training.npy", np.concatenate([block(10_000 + n, 512) for n in range(2)]))
    training = read_features(work / "training.npy", "training")
    load_or_train(work / "quantiser", training, f"IVF{options.nlist},PQ8x8np", "L2")
    values = np.lib.format.open_memmap(
        work / "fts.npy", mode="w+", dtype=np.float32, shape=(options.count, 512)
    )
    for start, part in blocks(options.count, 512):
        values[start : start + len(part)] = part
    values.flush()
    names = (f"image-{number:09d}.jpg\n" for number in range(options.count))
    (work / "filenames.txt").write_text("".join(names))


def command(*arguments: object) -> float:
    """Seconds of a whole command."""
    start = time.perf_counter()
    line = [sys.executable, "-m", "activeindex", "store", *map(str, arguments)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(options: argparse.Namespace, engine: str) -> dict[str, float]:
    folder = options.work / engine
    shutil.rmtree(folder, ignore_errors=True)
    store = f"lance://{folder}"
    command("create", store, "--index", options.work / "quantiser")
    return {
        "store add": command("add", store, options.work / "fts.npy", *ENGINES[engine]),
        "store compact": command("compact", store, *ENGINES[engine]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6 * BLOCK)
    parser.add_argument("--nlist", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    prepare(options)
    for number in range(options.rounds):
        seconds = {engine: measure(options, engine) for engine in ENGINES}
        for name, here in seconds["in-process"].items():
            there = seconds["ray"][name]
            print(
                f"round {number + 1}, {name}: in-process {here:.1f} s, ray {there:.1f} s, "
                f"ratio {there / here:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
