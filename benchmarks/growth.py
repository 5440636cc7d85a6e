"""Cost of a target as the index grows, beside the plain way to get it.

Run from the root of the repository:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/growth.py --out docs/growth.svg

Compares `Quantiser.reconstruct` of a batch of 16 features with adding the batch to the index,
rebuilding its direct map, reconstructing and removing it again: CPU time, the least of several
rounds. The index is IVF4096,PQ8x8 of dimension 512 with random centroids and random codes, 100 to a
million of them. Prints a table and draws it.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from large_index import DIMENSION, LISTS, filled

from activeindex.indexing.quantiser import Quantiser

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
BATCH = 16
ROUNDS = 7
WIDTH, HEIGHT, MARGIN = 560, 320, 60


def plain(index: faiss.Index, features: np.ndarray) -> np.ndarray:
    first = index.ntotal
    index.add(features)
    index.make_direct_map()
    found = index.reconstruct_n(first, len(features))
    index.set_direct_map_type(faiss.DirectMap.NoMap)
    index.remove_ids(faiss.IDSelectorRange(first, first + len(features)))
    return found


def least(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def drawn(rows: list[tuple[int, float, float]]) -> str:
    """Both columns over the first, on logarithmic axes."""
    values = [value for row in rows for value in row[1:]]
    low, high = np.floor(np.log10(min(values))), np.ceil(np.log10(max(values)))
    left, right = np.log10(rows[0][0]), np.log10(rows[-1][0])

    def x(size: float) -> float:
        return MARGIN + (np.log10(size) - left) / (right - left) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (np.log10(value) - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for power in range(int(low), int(high) + 1):
        at = y(10.0**power)
        parts.append(f'<path d="M{MARGIN} {at:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    for size, *_ in rows:
        at = HEIGHT - MARGIN + 18
        parts.append(f'<text x="{x(size):.1f}" y="{at}" text-anchor="middle">{size:,}</text>')
    for column, (name, colour) in enumerate(
        (("Quantiser.reconstruct", "#1f77b4"), ("add, direct map, reconstruct", "#d62728")), start=1
    ):
        points = " ".join(f"{x(row[0]):.1f},{y(row[column]):.1f}" for row in rows)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{MARGIN + 8}" y="{18 * column + 4}" fill="{colour}">{name}</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">vectors in the index '
        f"(ms of CPU time for the targets of {BATCH} images)</text></svg>\n"
    )
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the drawing, .svg")
    options = parser.parse_args()
    features = np.random.default_rng(1).standard_normal((BATCH, DIMENSION), dtype=np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    print(f"IVF{LISTS},PQ8x8, batch of {BATCH}, CPU time, least of {ROUNDS}\n")
    print("| vectors | Quantiser.reconstruct | add, direct map, reconstruct | ratio |")
    print("|---|---|---|---|")
    rows = []
    for size in SIZES:
        index = filled(size)
        quantiser = Quantiser(index)
        if not np.array_equal(quantiser.reconstruct(features), plain(index, features)):
            raise SystemExit("the two give different targets")
        ours = least(lambda quantiser=quantiser: quantiser.reconstruct(features))
        theirs = least(lambda index=index: plain(index, features))
        rows.append((size, ours, theirs))
        print(f"| {size:,} | {ours:.2f} ms | {theirs:.2f} ms | {theirs / ours:.0f} |", flush=True)
    options.out.write_text(drawn(rows))


if __name__ == "__main__":
    sys.exit(main())
