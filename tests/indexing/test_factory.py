"""Factory strings are checked before FAISS sees them, and mistyped ones get a suggestion."""

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.indexing.training import new_index


def refusal(factory: str, dimension: int = 64, count: int = 800) -> str:
    with pytest.raises(InputError) as caught:
        new_index(factory, dimension, "L2", count)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_spaces_mean_nothing() -> None:
    spaced, plain = (new_index(each, 64, "L2", 800) for each in (" IVF8, PQ4x4 ", "IVF8,PQ4x4"))
    np.testing.assert_array_equal(faiss.serialize_index(spaced), faiss.serialize_index(plain))


@pytest.mark.parametrize(
    "factory", ["IVF0,Flat", "PQ0", "PQ8x0", "OPQ0,PQ8", "IVF8_HNSW0,Flat", "RQ0x8", "NAP0,Flat"]
)
def test_zero_is_refused(factory: str) -> None:
    assert refusal(factory) == f"idx_factory {factory!r}: expected whole numbers from 1 on, found 0"


@pytest.mark.parametrize(
    ("factory", "needed"),
    [
        ("IVF99999999999,PQ8x8", 99_999_999_999),
        ("IVF801,Flat", 801),
        ("PQ8x16", 65_536),
        ("PQ8x24", 1 << 24),
        ("IMI2x16,Flat", 65_536),
        ("RQ2x12", 4096),
        ("PRQ2x2x12", 4096),
    ],
)
def test_more_centroids_than_features_are_refused_with_ways_out(factory: str, needed: int) -> None:
    assert refusal(factory) == (
        f"idx_factory {factory!r}: expected at least {needed} training features, one per centroid, "
        "found 800; take more images or fewer centroids, or leave --index out: the index in the "
        "package needs no training"
    )


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("PQ8x64", "nbits larger than 24 is not practical"),
        ("PCA300,Flat", "expected at most 64 dimensions, those of the features, found 300"),
        ("ITQ65,LSH", "expected at most 64 dimensions, those of the features, found 65"),
        ("OPQ8_60,PQ8x4", "should be a multiple of the number of subquantizers"),
        ("IVF16_HNSW999999999,Flat", "expected numbers up to 1024, found 999999999"),
        ("RR999999999,Flat", "expected numbers up to 1024, found 999999999"),
        ("(" * 100_000, "expected at most 200 characters, found 100000"),
        ("IDMap," * 50 + "Flat", "expected at most 200 characters, found 304"),
        ("PQ8x4\0", "expected ASCII characters"),
        ("IVF\N{ARABIC-INDIC DIGIT THREE},Flat", "expected ASCII characters"),
    ],
)
def test_what_would_take_all_memory_or_the_process_is_refused(factory: str, text: str) -> None:
    assert text in refusal(factory)


@pytest.mark.parametrize(
    ("factory", "meant"),
    [
        ("IVF16,QP8x4", "IVF16,PQ8x4"),
        ("ivf16,pq8x4", "IVF16,PQ8x4"),
        ("IVF16;PQ8X4", "IVF16,PQ8x4"),
        ("IVF16 PQ8x4", "IVF16,PQ8x4"),
        ("IVF16PQ8x4", "IVF16,PQ8x4"),
        ("IFV16,PQ8x4np", "IVF16,PQ8x4np"),
        ("PQ7x8", "PQ8x8"),
        ("IVF16,PQ60x4", "IVF16,PQ64x4"),
        ("Flt", "Flat"),
        ("OPQ8_32,IVF16,PQ8x4,RFlatt", "OPQ8_32,IVF16,PQ8x4,RFlat"),
    ],
)
def test_a_mistyped_factory_string_gets_a_suggestion(factory: str, meant: str) -> None:
    text = refusal(factory)
    assert text.startswith("idx_factory '")
    assert text.endswith(f"; did you mean {meant!r}?")
    new_index(meant, 64, "L2", 800)


@pytest.mark.parametrize("factory", ["", ",", "quantise it, please", "\u2026"])
def test_nothing_is_suggested_where_nothing_comes_near(factory: str) -> None:
    assert "did you mean" not in refusal(factory)
