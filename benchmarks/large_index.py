"""Open an index of 10 million vectors, memory-mapped and read into memory.

Run from the root of the repository; each is measured in its own process:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/large_index.py --work /tmp/large

The index is IVF4096,PQ8x8 of dimension 512 with random centroids and random codes: a search reads
as much as from real ones. The bytes that a query scans are the lower bound of its time.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np

LISTS, CODE, DIMENSION, QUERIES = 4096, 8, 512, 100


def filled(count: int) -> faiss.IndexIVFPQ:
    """An index of ``count`` random codes."""
    generator = np.random.default_rng(0)
    centroids = generator.standard_normal((LISTS, DIMENSION), dtype=np.float32)
    coarse = faiss.IndexFlatL2(DIMENSION)
    coarse.add(centroids / np.linalg.norm(centroids, axis=1, keepdims=True))
    index = faiss.IndexIVFPQ(coarse, DIMENSION, LISTS, CODE, 8)
    parts = generator.standard_normal(index.pq.M * index.pq.ksub * index.pq.dsub, dtype=np.float32)
    faiss.copy_array_to_vector(parts * 0.05, index.pq.centroids)
    index.is_trained = True
    sizes = np.diff(np.linspace(0, count, LISTS + 1).astype(np.int64))
    start = 0
    for number, size in enumerate(sizes.tolist()):
        ids = np.arange(start, start + size)
        codes = generator.integers(256, size=(size, CODE), dtype=np.uint8)
        index.invlists.add_entries(number, size, faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        start += size
    index.ntotal = count
    return index


def memory() -> dict[str, float]:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return {
        key: int(found[1]) / 1024
        for key in ("Rss", "Anonymous")
        if (found := re.search(rf"^{key}: +(\d+) kB", rollup, re.MULTILINE))
    }


def measure(path: Path, mapped: bool) -> None:
    from activeindex.indexing.reading import read_index
    from activeindex.indexing.search import search

    queries = np.random.default_rng(1).standard_normal((QUERIES, DIMENSION), dtype=np.float32)
    before, start, cpu = memory(), time.perf_counter(), time.process_time()
    index = read_index(path, mapped=mapped)
    wall, busy, opened = time.perf_counter() - start, time.process_time() - cpu, memory()
    start, cpu = time.perf_counter(), time.process_time()
    search(index, queries, 100)
    spent, searched = time.process_time() - cpu, memory()
    print(
        f"| {'mapped' if mapped else 'read'} | {wall:.2f} s | {busy:.2f} s "
        f"| {opened['Anonymous'] - before['Anonymous']:.0f} MiB "
        f"| {searched['Rss'] - before['Rss']:.0f} MiB | {spent / QUERIES * 1e3:.2f} ms |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--measure", choices=("mapped", "read"))
    options = parser.parse_args()
    path = options.work / f"{options.count}.index"
    if options.measure:
        measure(path, options.measure == "mapped")
        return
    options.work.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        faiss.write_index(filled(options.count), str(path))
    per_query = options.count / LISTS * (CODE + 8)
    print(
        f"{options.count:,} vectors, {path.stat().st_size / 2**20:.0f} MiB, "
        f"{per_query / 1024:.0f} KiB scanned per query\n\n"
        "| opened | wall | CPU | own memory | resident after 100 queries | CPU per query |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for how in ("read", "mapped"):
        command = [sys.executable, __file__, "--work", str(options.work), "--measure", how]
        subprocess.run([*command, "--count", str(options.count)], check=True)


if __name__ == "__main__":
    sys.exit(main())
