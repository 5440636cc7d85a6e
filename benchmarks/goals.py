"""What the goals of images cost the processor: one after the other, and in threads.

Run from the root of the repository:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/goals.py

The goal of an image (its target and the faces of its cell) is made of one feature before it is
activated. On a GPU, 250 images per second leave 4 ms for all that is done for an image here.
Synthetic features of 512 values; medians of --rounds rounds of 64 images.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import faiss
import numpy as np
import torch

from activeindex.activation.objective import Objective
from activeindex.activation.presets import PRESETS
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_index

TOGETHER, DIMENSION, THREADS = 64, 512, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx_factory", nargs="*", default=["IVF64,PQ8x8np", "IVF1024,PQ8x8np"])
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    settings = PRESETS[options.preset].settings
    features = np.random.default_rng(0).normal(size=(20000, DIMENSION)).astype(np.float32)
    print("| index | one after the other | in 8 threads |\n|---|---|---|")
    for factory in options.idx_factory:
        quantiser = Quantiser(train_index(features, factory, "L2"))

        def goal(row: int, quantiser: Quantiser = quantiser) -> Objective:
            return Objective.of(features[row : row + 1], (quantiser,), settings)

        def in_threads(goal: Callable[[int], Objective] = goal) -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(goal, range(TOGETHER)))

        alone = timed(lambda goal=goal: list(map(goal, range(TOGETHER))), options.rounds)
        print(f"| {factory} | {alone:.2f} ms | {timed(in_threads, options.rounds):.2f} ms |")


def timed(function: Callable[[], object], rounds: int) -> float:
    """Milliseconds per image."""
    function()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds) / TOGETHER


if __name__ == "__main__":
    sys.exit(main())
