"""Expected false matches are the number that is then observed, whatever the index."""

from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest

import activeindex as ai
from activeindex.decisions.calibrate import Edited, calibrate
from activeindex.decisions.calibration import Calibration
from activeindex.decisions.decision import MATCH, REVIEW, decide
from activeindex.errors import InputError, ShapeError
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import add, copied, search, set_nprobe
from activeindex.indexing.training import Metric

EXTRACTOR = ExtractorIdentity("features", "0" * 64, 32)
EDITS = 5
FACTORIES = ["IVF8,PQ8x8np", "PQ8x8np", "OPQ8,IVF8,PQ8x4np", "Flat", "IVF8,Flat"]
Features = npt.NDArray[np.float32]


def pictures(count: int, seed: int) -> Features:
    """Unit features of pictures in overlapping clusters, as a network's are."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(40, 32))
    found = centres[generator.integers(40, size=count)] + 1.2 * generator.normal(size=(count, 32))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def copies(features: Features, seed: int) -> Edited:
    """Five copies of each, whose features have moved by different lengths."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(features)), EDITS)
    moved = features[owners] + generator.uniform(0, 0.2, (len(owners), 1)) * generator.normal(
        size=(len(owners), 32)
    )
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return Edited(moved.astype(np.float32), owners)


def trained(factory: str, metric: Metric = "L2") -> TrainedIndex:
    return ai.train_index(pictures(4000, 1), factory, metric=metric)


def made(index: TrainedIndex, count: int = 1500) -> Calibration:
    features = pictures(count, 2)
    return calibrate(index, EXTRACTOR, features, copies(features, 3), stored=1000)


def filled(index: TrainedIndex, features: Features) -> faiss.Index:
    copy = copied(index.index)
    add(copy, features)
    set_nprobe(copy, 1_000_000)
    return copy


@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize("factory", FACTORIES)
def test_as_many_false_matches_are_seen_as_are_expected(factory: str, metric: Metric) -> None:
    index = trained(factory, metric)
    calibration = made(index)
    queries = copies(pictures(1500, 4), 5).features
    for images in (500, 2000):  # Without calibrating again.
        found = search(filled(index, pictures(images, 6)), queries, 50)
        scores = calibration.scores(queries, found.distances)
        expected = calibration.expected_false_matches(scores, images)
        for level in (1e-2, 0.1, 1.0):
            seen = np.count_nonzero(expected <= level) / len(queries)
            assert level / 2 <= seen <= level * 2, (images, level)


def test_copies_are_told_from_other_pictures() -> None:
    index = trained("IVF8,PQ8x8np")
    calibration = made(index)
    stored = pictures(1000, 6)
    edited = copies(stored, 7)
    found = search(filled(index, stored), edited.features, 1)
    scores = calibration.scores(edited.features, found.distances)
    expected = calibration.expected_false_matches(scores, 1000)[:, 0]
    matches = np.array([decide(value) == "match" for value in expected])
    right = found.ids[:, 0] == edited.owners
    assert matches.mean() > 0.3
    assert right[matches].mean() > 0.99


def test_a_refined_search_has_a_tail_of_its_own() -> None:
    index = trained("IVF8,PQ8x8np")
    calibration = made(index)
    queries, stored = copies(pictures(1500, 4), 5).features, pictures(1000, 6)
    flat = faiss.IndexFlatL2(32)
    add(flat, stored)
    found = search(flat, queries, 50)
    scores = calibration.scores(queries, found.distances)
    expected = calibration.expected_false_matches(scores, 1000, refined=True)
    for level in (1e-2, 0.1, 1.0):
        assert level / 2 <= np.count_nonzero(expected <= level) / len(queries) <= level * 2


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    calibration = made(trained("IVF8,PQ8x8np"), 100)
    calibration.save(tmp_path / "one.safetensors")
    again = Calibration.read(tmp_path / "one.safetensors")
    assert (again.extractor, again.quantiser) == (calibration.extractor, calibration.quantiser)
    assert again.background == calibration.background == ("features", 100, 250, 1000)
    queries = pictures(20, 8)
    scores = calibration.scores(queries, np.full((20, 2), 0.3, np.float32))
    np.testing.assert_array_equal(again.scores(queries, np.full((20, 2), 0.3, np.float32)), scores)
    for refined in (False, True):
        np.testing.assert_array_equal(
            again.expected_false_matches(scores, 7, refined=refined),
            calibration.expected_false_matches(scores, 7, refined=refined),
        )


def test_the_same_pictures_give_the_same_calibration(tmp_path: Path) -> None:
    index = trained("IVF8,PQ8x8np")
    for name in ("one", "two"):
        made(index, 100).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes(damage)
    with pytest.raises(InputError, match="expected a calibration; calibrate again"):
        Calibration.read(path)


def test_too_small_a_background_is_refused() -> None:
    index, features = trained("PQ8x8np"), pictures(39, 2)
    with pytest.raises(InputError, match="background: expected 40 pictures or more, found 39"):
        calibrate(index, EXTRACTOR, features, copies(features, 3), stored=1)
    with pytest.raises(ShapeError, match=r"features: expected shape \(n, 32\), found \(40, 8\)"):
        calibrate(index, EXTRACTOR, np.zeros((40, 8), np.float32), copies(features, 3), stored=1)


def test_the_bounds_belong_to_the_surer_decision() -> None:
    assert [decide(value) for value in (MATCH, MATCH * 1.01, REVIEW, REVIEW * 1.01)] == [
        "match",
        "review",
        "review",
        "none",
    ]
    assert decide(0.5, match=0.5) == "match"
    assert decide(5.0, review=5.0) == "review"
