"""The training of the index of the package, on features of two kinds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeindex.indexing.artefact import TrainedIndex
from tests.indexing.trained import features
from training.quantiser import main

FTS = {"name": "lite0_copy", "sha256": 64 * "a", "input_size": 224}


def write(folder: Path, seed: int, **note: Any) -> str:
    folder.mkdir()
    np.save(folder / "fts.npy", features(200, seed=seed))
    (folder / "fts.json").write_text(json.dumps({"extractor": FTS, **note}))
    return str(folder / "fts.npy")


def test_the_same_features_and_seed_give_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, edited = write(tmp_path / "a", 0), write(tmp_path / "b", 1, edit_seed=0)
    made = {}
    for name, seed in (("first", "0"), ("again", "0"), ("other", "1")):
        out = [str(tmp_path / name), "--seed", seed, "--idx_factory", "IVF4,PQ8x4np"]
        assert main([*out, "--features", plain, "--edited", edited]) == 0
        made[name] = TrainedIndex.read(tmp_path / name)
    assert made["first"].identity == made["again"].identity != made["other"].identity
    manifest = made["first"].manifest
    assert manifest is not None
    assert manifest.training_features == 400
    assert manifest.extractor is not None
    assert main([str(tmp_path / "no"), "--features", edited]) == 2
    other = write(tmp_path / "c", 2, extractor={**FTS, "sha256": 64 * "b"})
    assert main([str(tmp_path / "no"), "--features", plain, other]) == 2
    assert "expected features of lite0_copy" in capsys.readouterr().err
