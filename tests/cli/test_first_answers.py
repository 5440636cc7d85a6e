"""First answers: commands import no more than they need, and start no process for one picture."""

import json
from pathlib import Path

import numpy as np
import pytest

import activeindex as ai
from activeindex.extractors.feature_files import ImageFeatures
from tests.cli.collection import photographs, python
from tests.photographs import PROTECTED

COMPILER = {"torch._dynamo", "sympy", "scipy"}
"""Imported by the base class of torch's optimisers, for seconds."""


def imported(folder: Path, *arguments: str | Path) -> tuple[str, set[str]]:
    """What a command prints that can start no process, and what it has imported at its end."""
    program = (
        "import json, subprocess, sys\n"
        "subprocess.Popen = None\n"
        "from activeindex.cli import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    printed = python("-c", program, *arguments, cwd=folder).stdout
    text, _, modules = printed.rstrip("\n").rpartition("\n")
    return text, set(json.loads(modules))


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture, an index for it, and a store with the picture."""
    root = tmp_path_factory.mktemp("album")
    (root / "pictures").mkdir()
    (photograph,) = photographs(PROTECTED[:1])
    photograph.resize((160, 120)).save(root / "pictures" / "one.png")
    extractor = ai.load_extractor()
    picture = ai.extract(root / "pictures", extractor)
    noise = np.random.default_rng(0).normal(scale=0.03, size=(300, picture.shape[1]))
    training = (picture.values + noise).astype(np.float32)
    features = ImageFeatures(training, (), picture.extractor)
    ai.train_index(features, "IVF4,PQ8x8np").save(root / "index")
    with ai.Store.create(f"faiss:{root / 'store'}", root / "index") as store:
        store.add(picture)
    return root


def test_info_about_a_store_needs_no_network(album: Path) -> None:
    text, modules = imported(album, "store", "info", "store")
    assert "1 image" in text
    assert not modules & {"torch", "PIL"}


@pytest.mark.parametrize("command", ["table", "compare"])
def test_tables_of_finished_runs_need_no_network(runs: Path, command: str) -> None:
    text, modules = imported(runs, command, "passive", "active")
    assert "passive" in text
    assert not modules & {"torch", "faiss", "PIL"}


@pytest.mark.parametrize("command", [("search", "x.png", "--store"), ("store", "info")])
def test_a_missing_store_is_told_at_once(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from activeindex.cli import run\n"
        "print(run(sys.argv[1:]), *sorted({'torch', 'faiss', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    done = python("-c", program, *command, "faiss:none", cwd=tmp_path)
    assert done.stdout == "2\n"
    assert done.stderr.endswith("error: faiss:none: expected a store, found no store.json there\n")


def test_a_search_for_one_picture_starts_no_process(album: Path) -> None:
    text, modules = imported(album, "search", "pictures", "--store", "store", "--workers", "2")
    assert "one.png" in text
    assert not modules & COMPILER


def test_an_activation_leaves_the_compiler_of_pytorch_alone(album: Path) -> None:
    text, modules = imported(album, "activate", "pictures", "out", "--index", "index")
    assert "1 activated image" in text
    assert not modules & COMPILER
