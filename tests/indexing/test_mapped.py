"""``read_index(path, mapped=True)``: codes stay on the disk."""

import re
from pathlib import Path

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.reading import read_index
from activeindex.indexing.search import add, search, set_nprobe
from activeindex.indexing.training import Metric
from tests.indexing.trained import copy_of, features, trained


@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize("factory", ["Flat", "SQ8", "IVF16,Flat", "IVF16,PQ8x8np"])
def test_a_mapped_index_finds_what_the_one_in_memory_finds(
    tmp_path: Path, factory: str, metric: Metric
) -> None:
    index, queries = copy_of(trained(factory, metric)), features(20, seed=1)
    add(index, features(500, seed=2))
    faiss.write_index(index, str(tmp_path / "a.index"))
    mapped = read_index(tmp_path / "a.index", mapped=True)
    for one in (index, mapped):
        set_nprobe(one, 4)
    found, expected = search(mapped, queries, 10), search(index, queries, 10)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.distances, expected.distances)
    targets = Quantiser(mapped).reconstruct(queries)
    assert np.array_equal(targets, Quantiser(index).reconstruct(queries))


def memory_of_own() -> int:
    """Bytes of this process that no file on the disk could give back."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: +(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_a_mapped_index_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    path, stored = tmp_path / "a.index", features(1000, 256)
    index = faiss.IndexFlatL2(256)
    for _ in range(60):
        index.add(stored)
    faiss.write_index(index, str(path))
    del index
    before = memory_of_own()
    mapped = read_index(path, mapped=True)
    assert search(mapped, stored[:1], 3).distances.tolist() == [[0.0, 0.0, 0.0]]
    assert memory_of_own() - before < path.stat().st_size / 10


@pytest.mark.parametrize("content", [b"", b"no index", b"IxF2" + bytes(8)])
def test_what_is_no_index_cannot_be_mapped_either(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.index").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.index: expected a FAISS index file \("):
        read_index(tmp_path / "a.index", mapped=True)
