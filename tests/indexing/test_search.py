from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError, ShapeError
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import add, copied, search, set_nprobe, set_search_parameters
from activeindex.indexing.training import train_faiss
from tests.indexing.trained import copy_of, features, trained


def test_the_nearest_come_first_with_their_squared_distances() -> None:
    index, stored, queries = copy_of(trained("Flat")), features(200), features(5, seed=1)
    index.add(stored)
    distances = ((queries[:, None] - stored[None]) ** 2).sum(2)
    found = search(index, queries, 10)
    assert np.array_equal(found.ids, np.argsort(distances, axis=1)[:, :10])
    assert np.allclose(found.distances, np.sort(distances, axis=1)[:, :10], atol=1e-5)


def test_distances_are_those_to_the_reconstructions() -> None:
    index, stored, queries = copy_of(trained("PQ8x8np")), features(200), features(5, seed=1)
    index.add(stored)
    reconstructions = Quantiser(index).reconstruct(stored)
    found = search(index, queries, 3)
    expected = ((queries[:, None] - reconstructions[found.ids]) ** 2).sum(2)
    assert np.allclose(found.distances, expected, atol=1e-5)


def test_what_is_not_found_has_the_id_minus_one() -> None:
    index = copy_of(trained("Flat"))
    index.add(features(3))
    assert search(index, features(1), 5).ids[0, 3:].tolist() == [-1, -1]


@pytest.mark.parametrize("before", ["", "IDMap,PCA32,"])
def test_a_copy_leaves_lists_on_the_disk_as_they_are(tmp_path: Path, before: str) -> None:
    index = train_faiss(features(800), f"{before}IVF16,PQ8x8np", "L2")
    inverted: Any = faiss.extract_index_ivf(index)  # The stubs do not know its lists.
    lists: Any = faiss.OnDiskInvertedLists(16, inverted.code_size, str(tmp_path / "lists"))
    inverted.replace_invlists(lists)
    add(index, features(50, seed=3))
    written = (tmp_path / "lists").read_bytes()
    copy = copied(index)
    add(copy, features(500, seed=4))
    assert (copy.ntotal, index.ntotal) == (550, 50)
    assert (tmp_path / "lists").read_bytes() == written
    set_nprobe(copy, 16)
    found = search(copy, features(50, seed=3), 550).ids
    assert np.array_equal(np.sort(found), np.tile(np.arange(550), (50, 1)))


@pytest.mark.parametrize("factory", ["IVF16,Flat", "OPQ8_32,IVF16,PQ8x8np"])
def test_more_probes_find_more_on_inverted_lists(factory: str) -> None:
    index = copy_of(trained(factory))
    index.add(features(800, seed=3))
    results = []
    for nprobe in (1, 4, 16):
        set_nprobe(index, nprobe)
        results.append(search(index, features(50, seed=1), 100))
    found = [int((result.ids >= 0).sum()) for result in results]
    assert found[0] < found[1] <= found[2] == 50 * 100


def test_probes_reach_the_lists_of_a_wrapped_index() -> None:
    index = train_faiss(features(800), "IDMap,IVF16,Flat,RFlat", "L2")
    index.add_with_ids(features(800, seed=3), np.arange(800))
    set_nprobe(index, 16)
    assert (search(index, features(50, seed=1), 100).ids >= 0).all()


@pytest.mark.parametrize("factory", ["Flat", "PQ8x8np", "PCA32,LSH"])
def test_probes_do_nothing_to_an_index_without_lists(factory: str) -> None:
    index = copy_of(trained(factory))
    index.add(features(100))
    before = search(index, features(5, seed=1), 10)
    set_nprobe(index, 7)
    after = search(index, features(5, seed=1), 10)
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.distances, after.distances)


@pytest.mark.parametrize("factory", ["IDMap,Flat", "IDMap2,PQ8x4np", "PCA32,IDMap,Flat", "Flat"])
def test_features_get_the_ids_of_their_order(factory: str) -> None:
    index, stored = train_faiss(features(800), factory, "L2"), features(40, seed=3)
    add(index, stored[:25])
    add(index, stored[25:])
    assert index.ntotal == 40
    found = search(index, stored, 1).ids.ravel()
    assert (found == np.arange(40)).mean() > 0.9
    with pytest.raises(ShapeError, match=r"^features: expected shape \(n, 64\), found \(5, 32\)$"):
        add(index, features(5, 32))


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"^features: expected shape \(n, 64\), found \(5, 32\)$"):
        search(trained("Flat"), features(5, 32), 1)
    with pytest.raises(InputError, match=r"^kneighbors: expected 1 or more, found 0$"):
        search(trained("Flat"), features(5), 0)
    with pytest.raises(InputError, match=r"^nprobe: expected 1 or more, found 0$"):
        set_nprobe(trained("Flat"), 0)


@pytest.mark.parametrize(
    ("factory", "parameters", "more"),
    [
        ("IVF16,Flat", "nprobe=1", "nprobe=16"),
        ("IDMap,IVF16,PQ8x4np", "nprobe=1", "nprobe=16"),
        ("HNSW4,Flat", "efSearch=1", "efSearch=200"),
        ("L2norm,HNSW4,Flat", "efSearch=1", "efSearch=200"),
        ("PQ8x4np,RFlat", "k_factor=1", "k_factor=20"),
        ("OPQ8_32,IVF16,PQ8x4np,RFlat", "nprobe=1,k_factor=1", "nprobe=16, k_factor=20"),
        ("IVF16_HNSW4,Flat", "nprobe=1,quantizer_efSearch=1", "nprobe=16,quantizer_efSearch=64"),
    ],
)
def test_parameters_reach_the_part_that_they_are_of(
    factory: str, parameters: str, more: str
) -> None:
    index, queries = train_faiss(features(800), factory, "L2"), features(50, seed=1)
    stored = features(800, seed=3)
    add(index, stored)
    nearest = ((queries[:, None] - stored[None]) ** 2).sum(2).argmin(1)
    found = []
    for text in (parameters, more):
        set_search_parameters(index, text)
        found.append((search(index, queries, 1).ids[:, 0] == nearest).mean())
    assert found[0] < found[1]


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        ("Flat", "nprobe=4", r"expected a parameter of IndexFlatL2, found 'nprobe'$"),
        ("IVF16,Flat", "efsearch=4", r"expected a parameter of IndexIVFFlat, found 'efsearch'$"),
        ("IVF16,Flat", "nprobe", r"expected NAME=NUMBER, found 'nprobe'$"),
        ("IVF16,Flat", "nprobe=many", r"expected NAME=NUMBER, found 'nprobe=many'$"),
        ("IVF16,Flat", "nprobe=-1", r"expected NAME=NUMBER, found 'nprobe=-1'$"),
        ("IVF16,Flat", "nprobe=2,", r"expected NAME=NUMBER, found ''$"),
    ],
)
def test_parameters_that_the_index_lacks_are_refused(
    factory: str, parameters: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"^search_params: {message}"):
        set_search_parameters(copy_of(trained(factory)), parameters)
