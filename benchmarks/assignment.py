"""What does it cost to find the inverted list of a feature?

Run: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/assignment.py
(random centroids of 512 values: what they are does not change the cost). Prints the CPU time per
feature for features that are added together, and for one query alone.
"""

import argparse
import time

import faiss
import numpy as np
import numpy.typing as npt

DIMENSION = 512
TOGETHER = 2048


def cpu(quantizer: faiss.IndexFlatL2, parts: list[npt.NDArray[np.float32]], rounds: int) -> float:
    """Seconds per feature, the least of some rounds."""
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        for part in parts:
            quantizer.search(part, 1)
        taken.append(time.process_time() - before)
    return min(taken) / sum(map(len, parts))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", type=int, nargs="*", default=[1024, 4096, 16384, 65536])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    features = generator.standard_normal((TOGETHER, DIMENSION), dtype=np.float32)
    print("| lists | ms, added together | GFLOP/s | ms, one alone |\n|---|---|---|---|")
    for lists in options.lists:
        quantizer = faiss.IndexFlatL2(DIMENSION)
        quantizer.add(generator.standard_normal((lists, DIMENSION), dtype=np.float32))
        added = cpu(quantizer, [features], options.rounds)
        alone = cpu(quantizer, [query[None] for query in features[:32]], options.rounds)
        rate = 2 * lists * DIMENSION / added / 1e9
        print(f"| {lists:,} | {1000 * added:.3f} | {rate:.0f} | {1000 * alone:.2f} |")


if __name__ == "__main__":
    main()
