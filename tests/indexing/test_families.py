"""Every family of FAISS's factory: what is aimed at is what FAISS itself would give back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import add, search
from activeindex.indexing.unwrap import unwrapped
from tests.indexing.trained import Array, copy_of, features, newly_trained, trained

FLAT = ["Flat", "SQ4", "SQ6", "SQ8", "SQfp16", "SQbf16", "SQ8_direct_signed", "ZnLattice8x4_6"]
CODES = ["PQ8x4np", "PQ8x4fs", "RQ4x4", "PRQ2x2x4", "LSQ4x4", "PLSQ2x2x4", "RaBitQ", "RaBitQfs"]
LISTS = [
    *("IVF16,Flat", "IVF16,SQ8", "IVF16,PQ8x4np", "IVF16,PQ8x4fs", "IVF16,PQ8x4fsr"),
    *("IVF16,RQ4x4", "IVF16,PRQ2x2x4", "IVF16,LSQ4x4", "IVF16,RaBitQ"),
    *("IMI2x4,PQ8x4np", "IVF16_HNSW8,PQ8x4np", "IVF16,FlatPanorama4"),
]
TRANSFORMED = [
    *("OPQ8_32,PQ8x4np", "OPQ8_32,IVF16,PQ8x4np", "PCA32,Flat", "PCAR32,SQ8", "RR32,SQ8"),
    *("L2norm,SQ8", "PCA32,LSH", "PCAR32,IVF16,PQ8x4np"),
]
BINARY = ["LSH", "LSHr", "LSHt", "LSHrt"]
NATIVE = [*FLAT, *CODES, *LISTS, *TRANSFORMED, *BINARY]
GRAPHS = ["HNSW8,Flat", "HNSW8_SQ8", "HNSW8_PQ8x4np", "NSG8,Flat", "PCA32,HNSW8_SQ8"]
REFINED = {
    "IVF16,PQ8x4np,RFlat": "IVF16,PQ8x4np",
    "PQ8x4np,Refine(SQ8)": "PQ8x4np",
    "OPQ8_32,IVF16,PQ8x4np,RFlat": "OPQ8_32,IVF16,PQ8x4np",
}
MAPPED = {
    "IDMap,PQ8x4np": "PQ8x4np",
    "IDMap2,IVF16,Flat": "IVF16,Flat",
    "IDMap,HNSW8_SQ8": "SQ8",
    "PCA32,IDMap,SQ8": "PCA32,SQ8",
}
SAME_CODES = {"IVF16,RaBitQfs": "IVF16,RaBitQ"}
"""FAISS 1.15 gives back something else for all but the first 32 features of such a list."""
ONE_WAY = ["ITQ32,LSH", "PCA48,ITQ32,LSH", "PCAW32,SQ8", "PCAWR32,SQ8"]
"""Transforms that FAISS does not reverse."""
EVERY = [*NATIVE, *GRAPHS, *REFINED, *MAPPED, *SAME_CODES, *ONE_WAY]

dimensions = pytest.mark.parametrize("dimension", [64, 512])


def stored(factory: str, added: Array) -> Array:
    """What FAISS reconstructs of features that were added to the index."""
    if "fs" in factory:  # FAISS 1.15 crashes on reconstructing from one that was read back.
        index = newly_trained(factory, "L2", added.shape[1])
    else:
        index = copy_of(trained(factory, "L2", added.shape[1]))
    index.add(added)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.make_direct_map()
    # All at once: matrix products of other sizes are rounded otherwise.
    reconstructions: Array = index.reconstruct_n(0, len(added))
    return reconstructions


@dimensions
@pytest.mark.parametrize("factory", [*NATIVE, *GRAPHS])
def test_the_target_is_what_faiss_reconstructs_after_an_add(factory: str, dimension: int) -> None:
    index, queries = trained(factory, dimension=dimension), features(500, dimension, seed=1)
    assert np.array_equal(Quantiser(index).reconstruct(queries), stored(factory, queries))
    assert index.ntotal == 0


@dimensions
@pytest.mark.parametrize(("factory", "inner"), (REFINED | MAPPED | SAME_CODES).items())
def test_the_target_of_a_wrapper_is_that_of_what_codes(
    factory: str, inner: str, dimension: int
) -> None:
    quantiser = Quantiser(trained(factory, dimension=dimension))
    queries = features(500, dimension, seed=1)
    assert np.array_equal(quantiser.reconstruct(queries), stored(inner, queries))


@dimensions
@pytest.mark.parametrize("factory", ONE_WAY)
def test_what_faiss_does_not_reverse_is_reversed_to_the_right_direction(
    factory: str, dimension: int
) -> None:
    index, queries = trained(factory, dimension=dimension), features(50, dimension, seed=1)
    quantiser = Quantiser(index)
    reconstructions = quantiser.reconstruct(queries)
    cosines = (reconstructions * queries).sum(axis=1) / np.linalg.norm(reconstructions, axis=1)
    others = reconstructions @ np.roll(queries, 1, axis=0).T
    assert cosines.mean() > 0.3  # 32 of up to 512 dimensions are left.
    assert cosines.min() > others.mean() + 0.1
    # A feature that lies there has the same code.
    transforms, _ = unwrapped(index)
    forward, again = queries, reconstructions
    for transform in transforms:
        forward, again = transform.apply(forward), transform.apply(again)
    assert (np.sign(forward) == np.sign(again)).mean() > 0.97


@pytest.mark.parametrize("factory", ["PCAW32,Flat", "PCAWR32,Flat"])
def test_whitening_is_undone_but_for_what_the_projection_lost(factory: str) -> None:
    queries = features(20, seed=1)
    projected = Quantiser(trained("PCA32,Flat")).reconstruct(queries)
    assert np.allclose(Quantiser(trained(factory)).reconstruct(queries), projected, atol=1e-4)


@pytest.mark.parametrize("factory", EVERY)
def test_only_binary_codes_are_directions(factory: str) -> None:
    quantiser, queries = Quantiser(trained(factory)), features(50, seed=1)
    norms = np.linalg.norm(quantiser.reconstruct(queries), axis=1)
    assert quantiser.direction_only == factory.endswith(("LSH", "LSHr", "LSHt", "LSHrt"))
    if not quantiser.direction_only and factory != "SQ8_direct_signed":
        assert 0.4 < norms.min() <= norms.max() < 1.6


@pytest.mark.parametrize("factory", EVERY)
def test_no_index_is_changed_by_threads_that_share_it(factory: str) -> None:
    index = copy_of(trained(factory))
    quantiser, before = Quantiser(index), faiss.serialize_index(index).tobytes()
    batches = [features(10, seed=seed) for seed in range(40)]
    expected = [quantiser.reconstruct(batch) for batch in batches]
    together = threading.Barrier(4)

    def reconstruct(batch: Array) -> Array:
        together.wait(timeout=60)
        return quantiser.reconstruct(batch)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(reconstruct, batches))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    assert faiss.serialize_index(index).tobytes() == before


@pytest.mark.parametrize("factory", EVERY)
def test_a_reconstruction_searches_itself(factory: str) -> None:
    """A query at the target finds the feature whose target it is."""
    index, queries = copy_of(trained(factory)), features(300, seed=1)
    targets = Quantiser(index).reconstruct(queries)
    add(index, queries)
    found = search(index, targets, 10).ids
    # Coarse codes may be shared by features of one cluster.
    assert (found == np.arange(300)[:, None]).any(axis=1).mean() > 0.8


@pytest.mark.parametrize("factory", ["PQ8x4np", "RQ4x4", "IVF16,RQ4x4", "IMI2x4,PQ8x4np", "RaBitQ"])
def test_few_training_features_print_nothing(
    factory: str, capfd: pytest.CaptureFixture[str]
) -> None:
    newly_trained(factory)
    assert capfd.readouterr() == ("", "")
