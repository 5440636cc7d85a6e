"""Indexes of any origin are trained, recognised and refused alike."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

import activeindex as ai
from activeindex.errors import InputError, NoTargetError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import FeaturesLike, ImageFeatures
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import train_index
from activeindex.indexing.coerce import (
    IndexLike,
    as_quantiser,
    resolve_quantisers,
)
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from tests.indexing.trained import copy_of, features, trained

HERE = ExtractorIdentity("here", "a" * 64, 96)


def image_features(identity: ExtractorIdentity = HERE) -> ImageFeatures:
    return ImageFeatures(features(400), (None,) * 400, identity)


def test_an_index_is_faiss_s_own_and_the_same_from_any_kind_of_features(tmp_path: Path) -> None:
    values = features(400)
    np.save(tmp_path / "fts.npy", values)
    expected = faiss.serialize_index(train_faiss(values, "IVF16,PQ8x4np", "L2"))
    kinds: list[FeaturesLike] = [
        values,
        values.astype(np.float64),
        values.tolist(),
        image_features(),
        tmp_path / "fts.npy",
        str(tmp_path / "fts.npy"),
    ]
    for kind in kinds:
        index = train_index(kind, "IVF16,PQ8x4np")
        np.testing.assert_array_equal(faiss.serialize_index(index.index), expected)
        assert index.manifest is not None
        assert (index.manifest.idx_factory, index.manifest.quant) == ("IVF16,PQ8x4np", "L2")


def test_it_is_saved_as_the_folder_that_the_command_writes(tmp_path: Path) -> None:
    index = train_index(image_features(), "IVF16,PQ8x4np")
    index.save(tmp_path / "index")
    index.save(str(tmp_path / "index"))  # Nothing changes.
    there = ai.TrainedIndex.read(tmp_path / "index")
    assert there.identity == index.identity
    assert there.manifest == index.manifest
    assert there.extractor == HERE
    other = train_index(image_features(), "PQ8x4np")
    with pytest.raises(
        InputError, match=r"index: expected no folder, or one of PQ8x4np L2 .*found"
    ):
        other.save(tmp_path / "index")


def test_quantisers_of_one_index_are_the_same_however_it_is_given(tmp_path: Path) -> None:
    index = train_index(features(400), "OPQ8_32,IVF16,PQ8x4np")
    index.save(tmp_path / "index")
    faiss.write_index(index.index, str(tmp_path / "theirs.index"))
    queries = features(20, seed=1)
    expected = index.quantiser.encode(queries)
    kinds: list[IndexLike] = [
        index,
        index.quantiser,
        index.index,
        tmp_path / "index",
        str(tmp_path / "theirs.index"),
    ]
    for kind in kinds:
        np.testing.assert_array_equal(as_quantiser(kind).encode(queries), expected)


def test_an_index_in_memory_is_recognised_whatever_it_holds() -> None:
    empty, filled = (copy_of(trained("IVF16,PQ8x8np")) for _ in range(2))
    filled.add(features(100, seed=3))
    identity = as_quantiser(empty).identity
    assert identity is not None
    assert as_quantiser(filled).identity == identity
    assert filled.ntotal == 100, "its vectors are left alone"
    other = as_quantiser(trained("OPQ8_32,IVF16,PQ8x8np")).identity
    assert other is not None
    assert other.sha256 != identity.sha256


@pytest.mark.parametrize(
    ("theirs", "codes"),
    [
        ("IDMap,PQ8x8np", "PQ8x8np"),
        ("IDMap2,OPQ8_32,IVF16,PQ8x8np", "OPQ8_32,IVF16,PQ8x8np"),
        ("IVF16,PQ8x8np,RFlat", "IVF16,PQ8x8np"),
    ],
)
def test_an_index_of_another_program_has_the_codes_of_what_it_wraps(
    tmp_path: Path, theirs: str, codes: str
) -> None:
    index = train_faiss(features(800), theirs, "L2")
    stored, queries = features(50, seed=3), features(20, seed=1)
    if theirs.startswith("IDMap"):
        index.add_with_ids(stored, np.arange(50) + 1000)
    else:
        index.add(stored)
    faiss.write_index(index, str(tmp_path / "theirs"))
    expected = Quantiser(trained(codes)).reconstruct(queries)
    for given in (index, tmp_path / "theirs"):
        np.testing.assert_array_equal(as_quantiser(given).reconstruct(queries), expected)


def test_inverted_lists_may_be_on_the_disk(tmp_path: Path) -> None:
    index: Any = copy_of(trained("IVF16,PQ8x8np"))  # The stubs do not know its lists.
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(tmp_path / "lists"))
    index.replace_invlists(lists)
    index.add(features(50, seed=3))
    faiss.write_index(index, str(tmp_path / "theirs.index"))
    queries = features(20, seed=1)
    expected = Quantiser(trained("IVF16,PQ8x8np")).encode(queries)
    for given in (index, tmp_path / "theirs.index"):
        np.testing.assert_array_equal(as_quantiser(given).encode(queries), expected)


def test_several_indexes_are_several_quantisers(small_sscd: Extractor) -> None:
    first, second = (train_index(features(400, 512), name) for name in ("PQ8x4np", "SQ8"))
    assert len(resolve_quantisers(first, small_sscd)) == 1
    both = resolve_quantisers([first, second.index], small_sscd)
    assert [quantiser.code_size for quantiser in both] == [4, 512]


@pytest.mark.parametrize(
    ("features", "kind", "text"),
    [
        (np.zeros(8), ShapeError, "features: expected shape (n, d), found (8)"),
        (np.zeros((8, 2, 2)), ShapeError, "features: expected shape (n, d), found (8, 2, 2)"),
        (
            [[1.0, float("nan")], [0.0, 1.0]],
            InputError,
            "features: expected finite values, found NaN or infinity in row 0",
        ),
        (
            np.zeros((3, 8)),
            InputError,
            "idx_factory 'IVF16,PQ2x8': expected at least 256 training features, one per centroid, "
            "found 3; take more images or fewer centroids, or leave --index out: the index in the "
            "package needs no training",
        ),
    ],
)
def test_features_that_cannot_train_an_index_are_refused(
    features: FeaturesLike, kind: type[InputError], text: str
) -> None:
    with pytest.raises(InputError) as caught:
        train_index(features, "IVF16,PQ2x8")
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_what_is_no_matrix_of_numbers_is_refused() -> None:
    with pytest.raises(InputError, match=r"^features: expected a matrix \(n, d\) of numbers \("):
        train_index(object(), "PQ2x4")  # type: ignore[arg-type]


def test_what_is_no_index_for_the_extractor_is_refused(
    small_sscd: Extractor, tmp_path: Path
) -> None:
    def refused(index: object) -> str:
        with pytest.raises(InputError) as caught:
            resolve_quantisers(index, small_sscd)  # type: ignore[arg-type]
        return str(caught.value)

    assert refused([]) == "index: expected one or more, found none"
    assert refused(3) == ("index: expected a trained index, its file or its folder, found a int")
    assert refused(trained("PQ8x8np")) == (
        f"index: expected one of features of {small_sscd.identity}, of dimension 512, found "
        "dimension 64"
    )
    assert refused(tmp_path / "none").startswith(f"index {tmp_path / 'none'}: expected a trained")
    elsewhere = ImageFeatures(features(400, 512), (None,) * 400, HERE)
    assert "expected features of here" in refused(train_index(elsewhere, "PQ8x4np"))
    with pytest.raises(NoTargetError, match="not trained"):
        as_quantiser(faiss.index_factory(8, "PQ4x4"))
