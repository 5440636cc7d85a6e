"""Indexes that do not see what edits do to features."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.indexing.nap import nuisance_projection
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.search import add, search, set_nprobe
from activeindex.indexing.training import Metric, train_faiss
from activeindex.indexing.unwrap import unwrapped
from tests.indexing.trained import features

DIMENSION = 64
FACTORIES: tuple[tuple[str, Metric], ...] = (
    *(("NAP2,IVF16,PQ8x4np", "L2"), ("NAP2,IVF16,PQ8x4np", "IP"), ("NAP2,PQ8x4np", "L2")),
    *(("NAP2,OPQ8_32,IVF16,PQ8x4np", "L2"), ("NAP2,PCA32,LSH", "L2"), ("NAP2,RQ4x4", "L2")),
)


def directions(count: int = 2) -> Features:
    """Orthonormal ``(count, 64)``."""
    return np.linalg.qr(features(DIMENSION, seed=7).T)[0][:count].astype(np.float32)


def edited(rows: Features, seed: int) -> Features:
    """Copies that an edit has moved far along those directions, and a little elsewhere."""
    generator = np.random.default_rng(seed)
    far = generator.normal(scale=2.0, size=(len(rows), 2)).astype(np.float32) @ directions()
    near = generator.normal(scale=0.01, size=rows.shape).astype(np.float32)
    moved: Features = rows + far + near
    return moved


def trained(factory: str, metric: Metric = "L2") -> faiss.Index:
    rows = features(800)
    return train_faiss(rows, factory, metric, [edited(rows, 1), edited(rows, 2)])


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, DIMENSION - 1), seed=st.integers(0, 100))
def test_a_projection_takes_out_so_many_directions_and_leaves_the_rest(
    count: int, seed: int
) -> None:
    rows = features(200, seed=seed)
    moves = np.random.default_rng(seed).normal(size=rows.shape).astype(np.float32)
    projection = nuisance_projection(rows, [rows + moves], count)
    assert np.allclose(projection, projection.T, atol=1e-5)
    assert np.allclose(projection @ projection, projection, atol=1e-5)
    assert np.trace(projection) == pytest.approx(DIMENSION - count, abs=1e-3)


def test_it_takes_out_the_directions_that_edits_move_features_along() -> None:
    rows = features(200)
    projection = nuisance_projection(rows, [edited(rows, 1)], 2)
    assert np.abs(directions() @ projection).max() < 0.01


@pytest.mark.parametrize(("factory", "metric"), FACTORIES)
def test_edited_copies_get_the_code_of_their_image(factory: str, metric: Metric) -> None:
    rows = features(200, seed=3)
    far = np.random.default_rng(4).normal(size=(200, 2)).astype(np.float32) @ directions()
    there, plain = (
        Quantiser(trained(factory, metric)),
        train_faiss(rows, "IVF16,PQ8x4np", metric),
    )
    own, copies = there.encode(rows), there.encode(rows + 3.0 * far)
    assert (own == copies).all(axis=1).mean() > 0.85
    lost = Quantiser(plain).encode(rows) != Quantiser(plain).encode(rows + 3.0 * far)
    assert lost.any(axis=1).mean() > 0.9


@pytest.mark.parametrize(("factory", "metric"), FACTORIES)
def test_a_reconstruction_has_nothing_of_the_directions(factory: str, metric: Metric) -> None:
    found = Quantiser(trained(factory, metric)).reconstruct(features(50, seed=1))
    along = np.abs(found @ directions().T).max() / np.linalg.norm(found, axis=1).max()
    assert along < 0.02


def test_a_reconstruction_is_that_of_the_index_behind_the_projection() -> None:
    index, queries = trained("NAP2,IVF16,PQ8x4np"), features(50, seed=1)
    transforms, inner = unwrapped(index)
    seen = transforms[0].apply(queries)
    expected = transforms[0].apply(inner.sa_decode(inner.sa_encode(seen)))
    assert np.allclose(Quantiser(index).reconstruct(queries), expected, atol=1e-4)


@pytest.mark.parametrize("factory", ["NAP2,IVF16,SQ8", "NAP2,PCAR32,IVF16,SQ8"])
def test_copies_are_found_in_one_list_that_a_plain_index_loses(factory: str) -> None:
    rows = features(300, seed=3)
    found = []
    plain = train_faiss(features(800), factory.removeprefix("NAP2,"), "L2")
    for index in (trained(factory), plain):
        add(index, rows)
        set_nprobe(index, 1)
        ids = search(index, edited(rows, 5), 1).ids[:, 0]
        found.append(float((ids == np.arange(300)).mean()))
    assert found[0] > 0.9 > 0.7 > found[1]


def test_an_index_file_is_an_ordinary_one() -> None:
    index, queries = trained("NAP2,IVF16,PQ8x4np"), features(20, seed=1)
    read = faiss.deserialize_index(faiss.serialize_index(index))
    assert np.array_equal(Quantiser(read).encode(queries), Quantiser(index).encode(queries))
    found, expected = (Quantiser(each).reconstruct(queries) for each in (read, index))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("factory", "copies", "message"),
    [
        ("NAP2,IVF16,Flat", 0, "idx_factory NAP2: expected features of edited copies"),
        ("NAP64,IVF16,Flat", 1, "idx_factory NAP64: expected 1 to 63 directions of features of"),
        (
            "NAP0,IVF16,Flat",
            1,
            "idx_factory 'NAP0,IVF16,Flat': expected whole numbers from 1 on",
        ),
        ("IVF16,Flat", 1, "idx_factory 'IVF16,Flat': expected one that begins with NAP, for the"),
        ("NAP2,Banana", 1, "idx_factory 'NAP2,Banana': expected a FAISS factory string that fits"),
    ],
)
def test_what_cannot_be_trained_is_named(factory: str, copies: int, message: str) -> None:
    rows = features(200)
    with pytest.raises(InputError, match=message):
        train_faiss(rows, factory, "L2", [edited(rows, 1)] * copies)


def test_copies_of_other_images_are_refused() -> None:
    rows = features(200)
    with pytest.raises(InputError, match=r"copies of the 200 training images, of .* found 100 of"):
        train_faiss(rows, "NAP2,IVF16,Flat", "L2", [edited(rows, 1)[:100]])


def test_copies_that_do_not_move_are_refused() -> None:
    rows = features(200)
    with pytest.raises(InputError, match=r"NAP3: expected edited copies that move in 3 .* found 0"):
        train_faiss(rows, "NAP3,IVF16,Flat", "L2", [rows])
    along = features(200, seed=1)[:, :1] * directions(1)
    with pytest.raises(InputError, match=r"NAP3: expected edited copies that move in 3 .* found 1"):
        nuisance_projection(rows.astype(np.float64), [rows + along.astype(np.float64)], 3)


def test_one_direction_of_many_is_taken_out_of_a_reconstruction() -> None:
    rows = features(60, dimension=1200)
    everywhere = np.full((1, 1200), 1200**-0.5, np.float32)
    far = np.random.default_rng(1).normal(size=(60, 1)).astype(np.float32) * everywhere
    index = train_faiss(rows, "NAP1,SQ8", "L2", [rows + far])
    assert np.abs(Quantiser(index).reconstruct(rows) @ everywhere.T).max() < 1e-3
