import json
from pathlib import Path
from typing import Any, NoReturn

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError, OutputError
from activeindex.indexing import (
    METRICS,
    Metric,
    check_extractor,
    index_path,
    load_or_train,
    read_index,
)
from tests.indexing.trained import KINDS, Array, copy_of, features, trained

PROVENANCE = {"extractor": "sscd_disc_mixup (86386042eb85) at 288 px", "training": "abc"}


def never() -> NoReturn:
    raise AssertionError("trained again")


def load(
    folder: Path,
    factory: str = "IVF16,PQ8x8np",
    metric: Metric = "L2",
    dimension: int = 64,
    provenance: dict[str, Any] = PROVENANCE,
    train: bool = False,
) -> faiss.Index:
    def training_features() -> Array:
        return features(800) if train else never()

    path = index_path(folder, factory, metric)
    return load_or_train(path, factory, metric, dimension, training_features, provenance)


def place(folder: Path, index: faiss.Index, factory: str, metric: Metric = "L2") -> Path:
    """Puts an index where the one of another factory string is looked for."""
    path = index_path(folder, factory, metric)
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize(("factory", "metric"), KINDS[1:])  # without the slow one
def test_an_index_is_trained_once(tmp_path: Path, factory: str, metric: Metric) -> None:
    first = load(tmp_path, factory, metric, train=True)
    again = load(tmp_path, factory, metric)
    queries = features(20, seed=1)
    assert np.array_equal(first.sa_encode(queries), again.sa_encode(queries))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"idx={factory}_quant={metric}.index",
        f"idx={factory}_quant={metric}.json",
    }


@pytest.mark.parametrize(
    "factory",
    ["IDMap,PQ8x8np", "IVF16_HNSW8,Flat", "L2norm,Flat", "PCA32,Flat", "IVF16,PQ8x4,RFlat", "LSH"],
)
def test_other_kinds_are_found_again_too(tmp_path: Path, factory: str) -> None:
    load(tmp_path, factory, train=True)
    assert load(tmp_path, factory).is_trained


def test_the_note_says_what_the_index_was_made_of(tmp_path: Path) -> None:
    load(tmp_path, train=True)
    note = json.loads((tmp_path / "idx=IVF16,PQ8x8np_quant=L2.json").read_text())
    assert note == {
        "idx_factory": "IVF16,PQ8x8np",
        "quant": "L2",
        "dimension": 64,
        "training_features": 800,
        "faiss": faiss.__version__,
        **PROVENANCE,
    }


def test_another_dimension_is_refused(tmp_path: Path) -> None:
    load(tmp_path, train=True)
    with pytest.raises(InputError, match=r"index: expected .* dimension 512, found dimension 64; "):
        load(tmp_path, dimension=512)


@pytest.mark.parametrize("metric", METRICS)
def test_another_metric_is_refused(tmp_path: Path, metric: Metric) -> None:
    other: Metric = "IP" if metric == "L2" else "L2"
    path = place(tmp_path, trained("IVF16,PQ8x8np", other), "IVF16,PQ8x8np", metric)
    with pytest.raises(InputError, match=f"^{path}: expected metric {metric}, found {other}; "):
        load(tmp_path, metric=metric)


@pytest.mark.parametrize(
    ("asked", "there", "message"),
    [
        ("IVF16,PQ8x8np", "PQ8x8np", "expected type IndexIVFPQ, found IndexPQ"),
        ("IVF16,PQ8x8np", "IVF32,PQ8x8np", "expected inverted lists 16, found 32"),
        ("PQ8x8np", "PQ16x8np", "expected bytes per code 8, found 16"),
        ("PQ8x8np", "PQ16x4", "expected product quantiser 8x8, found 16x4"),
        (
            "PCA32,PQ8x8np",
            "OPQ8_32,PQ8x8np",
            "expected type .*PCAMatrix.*, found .*LinearTransform",
        ),
        ("OPQ8_32,PQ8x8np", "OPQ8_48,PQ8x8np", "expected inner dimension 32, found 48"),
        ("IDMap,PQ8x8np", "IDMap,SQ8", "expected type .*IndexPQ, found .*IndexScalarQuantizer"),
        ("IVF16,Flat", "IVF16_HNSW8,Flat", "expected coarse quantiser IndexFlat, found IndexHNSW"),
        ("SQ8", "SQ4", "expected bytes per code 64, found 32"),
    ],
)
def test_another_factory_string_is_refused(
    tmp_path: Path, asked: str, there: str, message: str
) -> None:
    path = place(tmp_path, trained(there), asked)
    with pytest.raises(InputError, match=f"^{path}: {message}") as caught:
        load(tmp_path, asked)
    assert str(caught.value).endswith("; delete it, or give another idx_dir")


def test_an_index_with_features_in_it_is_refused(tmp_path: Path) -> None:
    full = copy_of(trained("IVF16,PQ8x8np"))
    full.add(features(3))
    place(tmp_path, full, "IVF16,PQ8x8np")
    with pytest.raises(InputError, match="expected a trained, empty index, found 3 vectors in it"):
        load(tmp_path)


def test_an_untrained_index_is_refused(tmp_path: Path) -> None:
    place(tmp_path, faiss.index_factory(64, "IVF16,PQ8x8np"), "IVF16,PQ8x8np")
    with pytest.raises(InputError, match="expected a trained, empty index, found an untrained"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an index", None], ids=["empty", "text", "half"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = place(tmp_path, trained("IVF16,PQ8x8np"), "IVF16,PQ8x8np")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=f"^{path}: expected a FAISS index file") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_index_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.index: expected a FAISS index file"):
        read_index(tmp_path / "nowhere.index")


def test_features_of_another_extractor_are_refused(tmp_path: Path) -> None:
    load(tmp_path, train=True)
    other = {**PROVENANCE, "extractor": "dino_vits"}
    with pytest.raises(InputError, match="trained with extractor dino_vits, found sscd_disc_mixup"):
        load(tmp_path, provenance=other)
    path = index_path(tmp_path, "IVF16,PQ8x8np", "L2")
    check_extractor(path, PROVENANCE["extractor"])
    with pytest.raises(InputError, match=f"^{path}: expected .* extractor dino_vits, found sscd"):
        check_extractor(path, "dino_vits")


def test_an_index_of_another_program_has_no_note_and_is_taken(tmp_path: Path) -> None:
    path = place(tmp_path, trained("IVF16,PQ8x8np"), "IVF16,PQ8x8np")
    assert load(tmp_path).is_trained
    check_extractor(path, "any")


def test_features_of_unknown_origin_are_taken(tmp_path: Path) -> None:
    load(tmp_path, train=True)
    assert load(tmp_path, provenance={"extractor": None}).is_trained


def test_an_index_that_does_not_fit_on_the_disk_is_told_and_leaves_no_part(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"quant=L2\.index: cannot be written \(.*bytes are free"):
        load(tiny_disk, train=True)
    assert [path.suffix for path in tiny_disk.iterdir()] == [".json"]
