import faiss
import numpy as np
import pytest

from activeindex.errors import InputError, ShapeError
from activeindex.indexing.training import Metric, few_features, train_faiss
from tests.indexing.trained import KINDS, features, trained


@pytest.mark.parametrize(("factory", "metric"), KINDS)
def test_a_trained_index_is_empty_and_ready(factory: str, metric: Metric) -> None:
    index = trained(factory, metric)
    assert index.is_trained
    assert index.ntotal == 0
    assert index.d == 64


def test_training_twice_gives_the_same_codes() -> None:
    again, queries = train_faiss(features(800), "IVF16,PQ8x8np", "L2"), features(30, seed=1)
    assert np.array_equal(again.sa_encode(queries), trained("IVF16,PQ8x8np").sa_encode(queries))


@pytest.mark.parametrize(
    ("factory", "count", "message"),
    [
        ("IVF16,PQ7x8", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("Nonsense", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("IVF16,PQ8x4", 10, r"expected at least 16 training features, one per centroid, found 10$"),
        ("PQ8x8np", 100, r"expected at least 256 training features, one per centroid, found 100$"),
        ("IVF16,PQ8x8np", 10, r"expected at least 256 training features"),
        ("IVF300,PQ8x8np", 290, r"expected at least 300 training features"),
        ("IMI2x4,PQ8x4np", 10, r"expected at least 16 training features"),
        ("OPQ8_32,IVF16,PQ8x8np", 100, r"expected at least \d+ training features"),
    ],
)
def test_what_cannot_be_trained_is_told_on_one_line(factory: str, count: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train_faiss(features(count), factory, "L2")
    assert str(caught.value).startswith(f"idx_factory {factory!r}: ")
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"^quant: expected one of L2, IP, found 'cosine'$"):
        train_faiss(features(20), "Flat", "cosine")  # type: ignore[arg-type]


def test_features_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^training features: expected shape \(n, d\)"):
        train_faiss(features(20).ravel(), "Flat", "L2")


def test_few_training_features_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for factory in ("IVF16,PQ8x4", "PCA32,IVF16,Flat", "PQ8x4"):
        train_faiss(features(60), factory, "L2")
    assert capfd.readouterr() == ("", "")


def test_few_training_features_of_a_rotation_print_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    index = train_faiss(features(300), "OPQ8_32,IVF4,PQ8x4np", "L2")
    assert capfd.readouterr() == ("", "")
    # It is the rotation that FAISS would have found by itself.
    plain = faiss.index_factory(64, "OPQ8_32,IVF4,PQ8x4np")
    plain.train(features(300))
    queries = features(30, seed=1)
    assert np.array_equal(index.sa_encode(queries), plain.sa_encode(queries))


@pytest.mark.parametrize(
    ("factory", "count"),
    [
        ("Flat", 0),
        ("IVF16,Flat", 16),
        ("IVF16,PQ8x4np", 16),
        ("IVF4,PQ8x8np", 256),
        ("IVF300,PQ8x8np", 300),
        ("OPQ8_32,IVF4,PQ8x4np", 256),
        ("IMI2x4,PQ8x4np", 16),
    ],
)
def test_fewer_features_than_the_largest_clustering_wants_are_told(
    factory: str, count: int
) -> None:
    index = train_faiss(features(400), factory, "L2")
    assert few_features(39 * count, index) is None
    if count:
        assert few_features(39 * count - 1, index) == (
            f"{39 * count - 1:,} features for {count:,} centroids; {39 * count:,} advised"
        )
