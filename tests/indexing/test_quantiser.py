import gc
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from activeindex.errors import NoTargetError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.identity import QuantiserIdentity
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import Metric, train_faiss
from activeindex.indexing.unwrap import transforms_of
from tests.indexing.trained import FACTORIES, KINDS, Array, copy_of, features, trained


def stored(index: faiss.Index, added: Array) -> Array:
    """What FAISS itself reconstructs of features that it was given."""
    index = copy_of(index)
    index.add(added)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.make_direct_map()
    reconstructions: Array = index.reconstruct_n(0, len(added))
    return reconstructions


@pytest.mark.parametrize(("factory", "metric"), KINDS)
def test_a_reconstruction_is_bit_for_bit_what_faiss_stores(factory: str, metric: Metric) -> None:
    index, queries = trained(factory, metric), features(50, seed=1)
    found = Quantiser(index).reconstruct(queries)
    assert np.array_equal(found, stored(index, queries))
    assert index.ntotal == 0


@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "OPQ8_32,IVF16,PQ8x8np"])
def test_it_is_so_at_the_dimension_of_sscd(factory: str) -> None:
    index, queries = trained(factory, dimension=512), features(20, 512, seed=1)
    assert np.array_equal(Quantiser(index).reconstruct(queries), stored(index, queries))


def test_it_is_so_for_features_of_photographs(
    small_sscd: Extractor, photographs: dict[str, Pixels]
) -> None:
    images = [resize_square(to_tensor(pixels), 96) for pixels in photographs.values()]
    found = np.concatenate([features_of(small_sscd, image.unsqueeze(0)) for image in images])
    index = trained("IVF16,PQ8x8np", dimension=512)
    assert np.array_equal(Quantiser(index).reconstruct(found), stored(index, found))


@settings(max_examples=40)
@given(
    factory=st.sampled_from(FACTORIES),
    queries=arrays(np.float32, (3, 64), elements=st.floats(-100, 100, width=32)),
)
def test_it_is_so_for_any_features(factory: str, queries: Array) -> None:
    index = trained(factory)
    assert np.array_equal(
        Quantiser(index).reconstruct(queries), stored(index, queries), equal_nan=True
    )


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_that_holds_features_stays_as_it_is(factory: str) -> None:
    index = copy_of(trained(factory))
    index.add(features(30, seed=2))
    before = faiss.serialize_index(index).tobytes()
    quantiser = Quantiser(index)
    alone = quantiser.reconstruct(features(40, seed=1))
    assert faiss.serialize_index(index).tobytes() == before
    assert np.array_equal(alone, Quantiser(trained(factory)).reconstruct(features(40, seed=1)))


@pytest.mark.parametrize("factory", FACTORIES)
def test_threads_share_a_quantiser(factory: str) -> None:
    quantiser = Quantiser(trained(factory))
    batches = [features(20, seed=seed) for seed in range(24)]
    expected = [quantiser.reconstruct(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(quantiser.reconstruct, batches))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("factory", [*FACTORIES, "IDMap,PQ8x8np", "PQ8x8np,RFlat"])
def test_a_quantiser_keeps_its_index_alive(factory: str) -> None:
    index = copy_of(trained(factory))
    quantiser, queries = Quantiser(index), features(20, seed=1)
    expected = quantiser.reconstruct(queries)
    del index
    gc.collect()
    others = [copy_of(trained("Flat")) for _ in range(20)]  # reuse what was freed, if it was
    assert np.array_equal(quantiser.reconstruct(queries), expected)
    assert len(others) == 20


@pytest.mark.parametrize(
    ("factory", "size"),
    [("IVF16,PQ8x8np", 9), ("PQ8x8np", 8), ("PCA32,LSH", 4), ("Flat", 256), ("IVF16,SQ8", 65)],
)
def test_a_code_is_as_long_as_the_factory_says(factory: str, size: int) -> None:
    quantiser = Quantiser(trained(factory))
    assert quantiser.code_size == size
    assert quantiser.encode(features(3)).shape == (3, size)


def test_codes_decode_to_the_reconstruction() -> None:
    quantiser, queries = Quantiser(trained("OPQ8_32,IVF16,PQ8x8np")), features(5, seed=1)
    assert np.array_equal(
        quantiser.decode(quantiser.encode(queries)), quantiser.reconstruct(queries)
    )


@pytest.mark.parametrize("kind", [faiss.IndexShards, faiss.IndexRandom])
def test_an_index_without_reconstructions_is_refused_with_the_reason(
    kind: Callable[[int], faiss.Index],
) -> None:
    with pytest.raises(NoTargetError, match=r"^Index\w+: the index cannot reconstruct") as caught:
        Quantiser(kind(64))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("(standalone codec not implemented for this type of index)")


@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "OPQ8_32,PQ8x8np", "IDMap,PQ8x8np"])
def test_an_untrained_index_is_refused(factory: str) -> None:
    with pytest.raises(NoTargetError, match=r"the index is not trained, so it has no codes yet$"):
        Quantiser(faiss.index_factory(64, factory))


@pytest.mark.parametrize(
    ("wrapped", "factory"),
    [
        ("IDMap,IVF16,PQ8x8np", "IVF16,PQ8x8np"),
        ("IDMap2,PQ8x8np", "PQ8x8np"),
        ("IVF16,PQ8x8np,RFlat", "IVF16,PQ8x8np"),
        ("PQ8x8np,Refine(SQ8)", "PQ8x8np"),
        ("IDMap,OPQ8_32,IVF16,PQ8x8np,RFlat", "OPQ8_32,IVF16,PQ8x8np"),
    ],
)
def test_id_maps_and_refinements_are_looked_through(wrapped: str, factory: str) -> None:
    outer, inner = (
        Quantiser(train_faiss(features(800), wrapped, "L2")),
        Quantiser(trained(factory)),
    )
    queries = features(20, seed=1)
    assert outer.code_size == inner.code_size
    # FAISS trains the same way inside the wrapper, so the codes are the same.
    assert np.array_equal(outer.reconstruct(queries), inner.reconstruct(queries))


@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "IVF16,Flat", "IVF16,SQ8"])
def test_the_coarse_centroid_is_the_nearest_one(factory: str, metric: Metric) -> None:
    index, queries = trained(factory, metric), features(50, seed=1)
    centroids = faiss.extract_index_ivf(index).quantizer.reconstruct_n(0, 16)
    if metric == "L2":
        nearest = ((queries[:, None] - centroids[None]) ** 2).sum(2).argmin(1)
    else:
        nearest = (queries @ centroids.T).argmax(1)
    found = Quantiser(index).coarse_centroids(queries)
    assert np.array_equal(found, centroids[nearest])
    assert len(set(nearest.tolist())) > 5


def test_a_whitening_is_reversed_whatever_the_unit_of_the_features() -> None:
    rows = 4000.0 * features(300, dimension=16)
    found = Quantiser(train_faiss(rows, "PCAW16,Flat", "L2")).reconstruct(rows)
    assert np.abs(found - rows).max() < 1e-3 * np.abs(rows).max()


def test_the_coarse_centroid_behind_a_rotation_is_turned_back() -> None:
    index, queries = trained("OPQ8_32,IVF16,PQ8x8np"), features(50, seed=1)
    assert isinstance(index, faiss.IndexPreTransform)
    rotation = transforms_of(index)[0]
    assert isinstance(rotation, faiss.LinearTransform)
    matrix = faiss.vector_to_array(rotation.A).reshape(32, 64)
    centroids = faiss.extract_index_ivf(index).quantizer.reconstruct_n(0, 16)
    turned = queries @ matrix.T
    nearest = ((turned[:, None] - centroids[None]) ** 2).sum(2).argmin(1)
    found = Quantiser(index).coarse_centroids(queries)
    assert found.shape == (50, 64)
    assert np.allclose(found, centroids[nearest] @ matrix, atol=1e-6)  # rows are orthonormal


def test_the_coarse_centroid_of_a_wrapped_index_is_that_of_the_index() -> None:
    wrapped = train_faiss(features(800), "IDMap,IVF16,PQ8x8np,RFlat", "L2")
    queries = features(10, seed=1)
    found = Quantiser(wrapped).coarse_centroids(queries)
    assert np.array_equal(found, Quantiser(trained("IVF16,PQ8x8np")).coarse_centroids(queries))


@pytest.mark.parametrize("factory", ["PQ8x8np", "OPQ8_32,PQ8x8np", "Flat"])
def test_an_index_without_lists_has_no_coarse_centroid(factory: str) -> None:
    with pytest.raises(NoTargetError, match=r"no inverted lists.*use the target pq_recons$"):
        Quantiser(trained(factory)).coarse_centroids(features(1))


def test_other_shapes_are_refused_with_both() -> None:
    quantiser = Quantiser(trained("IVF16,PQ8x8np"))
    assert quantiser.dimension == 64
    for call in (quantiser.reconstruct, quantiser.encode, quantiser.coarse_centroids):
        with pytest.raises(ShapeError, match=r"^features: expected shape \(n, 64\), found \(2, 32"):
            call(features(2, 32))
    with pytest.raises(ShapeError, match=r"^codes: expected shape \(n, 9\), found \(2, 8\)$"):
        quantiser.decode(np.zeros((2, 8), dtype=np.uint8))


@pytest.mark.parametrize(("factory", "metric"), KINDS)
def test_in_another_process_it_is_the_same(factory: str, metric: Metric) -> None:
    quantiser = Quantiser(trained(factory, metric), QuantiserIdentity("name", "0" * 64))
    again, queries = pickle.loads(pickle.dumps(quantiser)), features(20, seed=1)
    assert again.identity == quantiser.identity
    assert np.array_equal(again.encode(queries), quantiser.encode(queries))
    assert np.array_equal(again.reconstruct(queries), quantiser.reconstruct(queries))
