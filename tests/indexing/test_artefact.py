import hashlib
import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

import activeindex
from activeindex.errors import InputError
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import (
    TrainedIndex,
    index_path,
    load_or_train,
)
from activeindex.indexing.reading import read_index
from activeindex.indexing.training import METRICS, Metric, train_faiss
from tests.indexing.trained import KINDS, Array, copy_of, features, trained

SSCD = ExtractorIdentity("sscd_disc_mixup", "86386042eb85" + 52 * "0", 288)
DINO = ExtractorIdentity("dino_vits", "ba9876543210" + 52 * "0", 224)


def training(
    values: Array | None = None, extractor: ExtractorIdentity | None = SSCD
) -> ImageFeatures:
    """Training features of a known origin."""
    return ImageFeatures(features(800) if values is None else values, extractor=extractor)


def load(
    folder: Path,
    factory: str = "IVF16,PQ8x8np",
    metric: Metric = "L2",
    made_of: ImageFeatures | None = None,
    **options: Any,
) -> TrainedIndex:
    path = index_path(folder, factory, metric)
    return load_or_train(path, made_of or training(), factory, metric, **options)


def place(folder: Path, index: faiss.Index, factory: str, metric: Metric = "L2") -> Path:
    """Puts an index where the one of another factory string is looked for."""
    path = index_path(folder, factory, metric)
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize(("factory", "metric"), KINDS[1:])  # without the slow one
def test_an_index_is_trained_once(tmp_path: Path, factory: str, metric: Metric) -> None:
    first = load(tmp_path, factory, metric)
    again = load(tmp_path, factory, metric)
    queries = features(20, seed=1)
    assert np.array_equal(first.index.sa_encode(queries), again.index.sa_encode(queries))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"idx={factory}_quant={metric}.index",
        f"idx={factory}_quant={metric}.json",
    }


def test_an_index_that_knows_edits_is_found_again_with_the_same_copies_alone(
    tmp_path: Path,
) -> None:
    copies = [training(values=features(800, seed=seed)) for seed in (1, 2)]
    factory = "NAP4,IVF16,PQ8x8np"
    first = load(tmp_path, factory, edited=copies[:1])
    assert first.manifest is not None
    assert first.manifest.edited_sha256 == [copies[0].hash()]
    for edited in (copies[:1], ()):
        assert load(tmp_path, factory, edited=edited).identity == first.identity
    with pytest.raises(InputError, match=r"trained with edited_sha256 \w+, found \w+; give"):
        load(tmp_path, factory, edited=copies[1:])


def test_copies_seen_by_another_extractor_are_refused(tmp_path: Path) -> None:
    others = training(values=features(800, seed=1), extractor=DINO)
    message = f"expected features of {SSCD}, as in fts_training_path, found features of {DINO}"
    with pytest.raises(InputError, match=re.escape(message)):
        load(tmp_path, "NAP4,IVF16,PQ8x8np", edited=[others])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "factory",
    ["IDMap,PQ8x8np", "IVF16_HNSW8,Flat", "L2norm,Flat", "PCA32,Flat", "IVF16,PQ8x4,RFlat", "LSH"],
)
def test_other_kinds_are_found_again_too(tmp_path: Path, factory: str) -> None:
    load(tmp_path, factory)
    assert load(tmp_path, factory).index.is_trained


def test_the_manifest_says_what_the_index_was_made_of(tmp_path: Path) -> None:
    made_of, trained_index = training(), load(tmp_path)
    assert trained_index.path is not None
    assert json.loads((tmp_path / "idx=IVF16,PQ8x8np_quant=L2.json").read_text()) == {
        "idx_factory": "IVF16,PQ8x8np",
        "quant": "L2",
        "dimension": 64,
        "extractor": SSCD.as_json(),
        "training_features": 800,
        "training_sha256": made_of.hash(),
        "sha256": hashlib.sha256(trained_index.path.read_bytes()).hexdigest(),
        "libraries": {
            "activeindex": activeindex.__version__,
            "faiss": faiss.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "edited_sha256": [],
    }


def test_another_dimension_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(InputError, match=r"index: expected .* dimension 512, found dimension 64; "):
        load(tmp_path, made_of=training(features(800, 512)))


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
    trained_index = load(tmp_path)
    other = training(extractor=DINO)
    with pytest.raises(
        InputError, match=r"trained with extractor dino_vits \(.*, found sscd_disc_mixup \("
    ):
        load(tmp_path, made_of=other)
    assert load(tmp_path, made_of=other, any_origin=True).identity == trained_index.identity
    trained_index.check_extractor(SSCD)
    with pytest.raises(InputError, match=f"^{trained_index.path}: .* of sscd.*, found .* dino"):
        trained_index.check_extractor(DINO)


def test_force_is_not_offered_where_dimensions_do_not_fit(tmp_path: Path) -> None:
    trained_index = load(tmp_path)
    with pytest.raises(InputError) as caught:
        trained_index.check_extractor(DINO, 384)
    assert str(caught.value) == (
        f"{trained_index.path}: expected features of {SSCD}, of dimension 64, "
        f"found features of {DINO}, of dimension 384"
    )
    with pytest.raises(InputError, match=r"--force goes on nevertheless$"):
        trained_index.check_extractor(DINO, 64)


def test_other_training_features_are_refused(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(InputError, match=r"trained with training_sha256 \w+, found \w+; give"):
        load(tmp_path, made_of=training(features(800, seed=5)))


def test_an_index_of_another_program_has_no_manifest_and_is_taken(tmp_path: Path) -> None:
    place(tmp_path, trained("IVF16,PQ8x8np"), "IVF16,PQ8x8np")
    taken = load(tmp_path)
    assert taken.manifest is None
    taken.check_extractor(DINO)


def test_features_of_unknown_origin_are_taken(tmp_path: Path) -> None:
    load(tmp_path)
    assert load(tmp_path, made_of=training(extractor=None)).index.is_trained


def test_an_index_that_was_swapped_behind_its_manifest_is_refused(tmp_path: Path) -> None:
    path = load(tmp_path).path
    faiss.write_index(train_faiss(features(900, seed=4), "IVF16,PQ8x8np", "L2"), str(path))
    with pytest.raises(InputError, match=f"^{path}: expected the index of .* with SHA-256 "):
        load(tmp_path)


def test_a_folder_is_all_that_activation_needs(tmp_path: Path) -> None:
    """Written on one machine, copied, and read on another."""
    made = load_or_train(tmp_path / "here", training(), "OPQ8_32,IVF4,PQ8x4np", "L2")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"index.faiss", "manifest.json"}
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    read, queries = TrainedIndex.read(tmp_path / "there"), features(20, seed=1)
    assert read.identity == made.identity
    assert str(read.identity).startswith("OPQ8_32,IVF4,PQ8x4np L2 (")
    assert np.array_equal(read.quantiser.reconstruct(queries), made.quantiser.reconstruct(queries))
    assert read.quantiser.identity == made.identity


def test_a_folder_is_trained_once_and_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = load_or_train(out, training(), "PQ8x4np", "L2")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert load_or_train(out, training(), "PQ8x4np", "L2").identity == first.identity
    with pytest.raises(InputError, match="trained with idx_factory SQ8, found PQ8x4np; give"):
        load_or_train(out, training(), "SQ8", "L2")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("index.faiss", None), ("manifest.json", None), ("manifest.json", "{}")],
)
def test_a_folder_with_something_missing_is_refused(
    tmp_path: Path, name: str, content: str | None
) -> None:
    load_or_train(tmp_path / "out", training(), "PQ8x4np", "L2")
    path = tmp_path / "out" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"{name}|manifest of an index, found no idx_factory"):
        TrainedIndex.read(tmp_path / "out")


def test_nothing_is_left_where_training_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 256 training features"):
        load_or_train(tmp_path / "out", training(features(60)), "PQ8x8np", "L2")
    assert list(tmp_path.iterdir()) == []
