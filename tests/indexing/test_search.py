import numpy as np
import pytest

from activeindex.errors import InputError, ShapeError
from activeindex.indexing import Quantiser, add, search, set_nprobe, train_index
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
    index = train_index(features(800), "IDMap,IVF16,Flat,RFlat", "L2")
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
    index, stored = train_index(features(800), factory, "L2"), features(40, seed=3)
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
