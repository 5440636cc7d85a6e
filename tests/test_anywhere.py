"""The public API works where Python users are: in a plain script, in a thread, in a notebook."""

import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

import activeindex as ai
from activeindex.activation.records import read_records
from activeindex.images.levels import Pixels

TOGETHER = """
import activeindex as ai
import numpy as np
import torch

torch.set_num_threads(1)


def halve(image, generator):
    return image.resize((image.width // 2, image.height // 2))


def distance(features, targets):
    return (features - targets).norm(dim=1)


features = ai.extract("pictures")
index = ai.train_index(np.tile(features, (20, 1)), "IVF2,PQ4x4np")
result = ai.activate("pictures", index, preset="fast", iterations=1, loss_f=distance)
found = ai.evaluate("pictures", result, index=index, edits=[halve], workers=WORKERS)
np.save("features.npy", features)
result.save("released")
print(found.recall.average.r_at_1)
"""
"""Extracts, trains, activates and evaluates with functions that only this program knows."""

WITH_PROCESSES = TOGETHER.replace("workers=WORKERS", "workers=LocalEngine(2)").replace(
    "import torch\n", "import torch\nfrom activeindex.runtime.pool import LocalEngine\n"
)
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"id": "0", "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    ],
}
ALONE = TOGETHER.replace("WORKERS", "None")


PICTURES = ("astronaut", "chelsea", "coffee")


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Pixels], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with three pictures in ``pictures``."""
    (tmp_path / "pictures").mkdir()
    for name in PICTURES:
        Image.fromarray(photographs[name][50:200, 80:240]).save(tmp_path / f"pictures/{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(folder: Path, printed: str) -> None:
    """Features are those of this process, files keep the budget, and every copy is found."""
    assert printed.strip() == "1.0"
    expected = ai.extract(folder / "pictures").values
    np.testing.assert_array_equal(np.load(folder / "features.npy"), expected)
    records = list(read_records(folder / "released" / "activation.jsonl"))
    assert [record["output"] for record in records] == [
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
    ]
    assert min(record["psnr"] for record in records) >= 42.5


@pytest.mark.parametrize("script", [ALONE, WITH_PROCESSES], ids=["alone", "with processes"])
def test_a_script_needs_no_guard(folder: Path, script: str) -> None:
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    check(folder, done.stdout)


def test_a_thread_computes_the_same(folder: Path) -> None:
    indented = "\n".join(f"    {line}" for line in ALONE.splitlines())
    (folder / "script.py").write_text(
        f"def work():\n{indented}\n\n"
        "import threading\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    check(folder, done.stdout)


@pytest.mark.parametrize("cell", [ALONE, WITH_PROCESSES], ids=["alone", "with processes"])
def test_a_notebook_computes_the_same(folder: Path, cell: str) -> None:
    notebook = nbformat.from_dict(NOTEBOOK)  # type: ignore[no-untyped-call]
    notebook.cells[0].source = cell
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    check(folder, "".join(output["text"] for output in notebook.cells[0].outputs))
