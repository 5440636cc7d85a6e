"""The reader of a page, who has pictures, a collection like them and an index."""

import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from PIL import Image

import activeindex as ai
from activeindex.cli import run
from activeindex.images.levels import Pixels

PICTURES = {"astronaut": (20, 120), "chelsea": (40, 110)}
"""Photographs that the reader protects, and where the piece of them begins."""

COMMANDS = """
extract_fts --data_dir COLLECTION --output_dir fts/train --workers 0
train_index QUANTISER --idx_factory IVF64,PQ8x8np --fts_training_path fts/train/fts.pt
activate --index QUANTISER PICTURES RELEASED --preset fast --workers 0
"""
"""What the README tells the reader to do first."""


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, Pixels]) -> Path:
    """A folder with pictures, and as many others as the smallest index of 256 centroids needs."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("PICTURES", "COLLECTION"):
        (folder / name).mkdir()
    for name, (top, left) in PICTURES.items():
        piece = photographs[name][top : top + 200, left : left + 240]
        Image.fromarray(piece).save(folder / "PICTURES" / f"{name}.png")
    Image.fromarray(photographs["coffee"][100:300, 150:400]).save(folder / "picture.jpg")
    generator = np.random.default_rng(0)
    names = sorted(photographs)
    for number in range(300):
        photograph = photographs[names[number % len(names)]]
        side = int(generator.integers(60, 200))
        top, left = (int(generator.integers(0, size - side)) for size in photograph.shape[:2])
        piece = photograph[top : top + side, left : left + side]
        Image.fromarray(piece).save(folder / "COLLECTION" / f"{number:03d}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def after(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder when the reader has protected the pictures as README says."""
    folder = tmp_path_factory.mktemp("protected") / "reader"
    shutil.copytree(before, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS.split("\n"):
            if command:
                assert run(command.split()) == 0
    return folder


@pytest.fixture
def reader(after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a block may use without saying so, in a folder of its own that it may write in."""
    folder = tmp_path / "reader"
    shutil.copytree(after, folder)
    shutil.copytree(after / "RELEASED", folder / "SUSPECTS")
    filled = ai.TrainedIndex.read(after / "QUANTISER").index
    filled.add(ai.read_features(after / "fts" / "train" / "fts.pt", "features").values)
    faiss.write_index(filled, str(folder / "filled.index"))
    monkeypatch.chdir(folder)
    return {"ai": ai}
