"""What does it cost to find the inverted list of a feature?

Run: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/assignment.py
(random centroids of 512 values: what they are does not change the cost). Prints the CPU time of
FAISS per feature, of those that are added together and of one query alone; then that of Lance per
feature that is indexed and per query that visits one list of that index.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.stores.lance.model import LanceModel, lance_library, vectors

Array = npt.NDArray[np.float32]

DIMENSION = 512
TOGETHER = 4096
QUERIES = 100


def cpu(work: Callable[[Array], object], parts: list[Array]) -> float:
    """Milliseconds per feature."""
    before = time.process_time()
    for part in parts:
        work(part)
    return 1000 * (time.process_time() - before) / sum(map(len, parts))


def in_faiss(centroids: Array, features: Array) -> tuple[float, float]:
    quantizer = faiss.IndexFlatL2(DIMENSION)
    quantizer.add(centroids)

    def search(part: Array) -> object:
        return quantizer.search(part, 1)

    return cpu(search, [features]), cpu(search, [query[None] for query in features[:QUERIES]])


def in_lance(model: LanceModel, features: Array) -> tuple[float, float]:
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as folder:
        table = pa.table({"feature": vectors(features)})
        data = lance_library().write_dataset(table, folder)

        def index(_: Array) -> object:
            return data.create_index("feature", "IVF_PQ", **model.options())

        added = cpu(index, [features])
        data = lance_library().dataset(folder)

        def search(part: Array) -> object:
            nearest = {"column": "feature", "q": part[0], "k": 10, "maximum_nprobes": 1}
            return data.to_table(columns=[], with_row_id=True, nearest=nearest, fast_search=True)

        queries = [query[None] for query in features[: 2 * QUERIES]]
        cpu(search, queries[:QUERIES])  # The index is read once.
        return added, cpu(search, queries[QUERIES:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", type=int, nargs="*", default=[1024, 4096, 16384, 65536])
    options = parser.parse_args()
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return generator.standard_normal(shape, dtype=np.float32) / np.float32(DIMENSION**0.5)

    features, codebook = drawn(TOGETHER, DIMENSION), drawn(8, 256, DIMENSION // 8)
    print(
        "| lists | FAISS, added together | alone | Lance, added | a query |\n|---|---|---|---|---|"
    )
    for lists in options.lists:
        model = LanceModel(drawn(lists, DIMENSION), codebook)
        found = [*in_faiss(model.centroids, features), *in_lance(model, features)]
        print(f"| {lists:,} | {' | '.join(f'{ms:.3f}' for ms in found)} |", flush=True)


if __name__ == "__main__":
    main()
