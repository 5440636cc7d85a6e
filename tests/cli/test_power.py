"""Killed at a rename or a flush, or after a power loss, a command ends as if nothing had been.

``ACTIVEINDEX_LONG=1`` tries every moment instead of a few.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.cli import run
from tests.cli import power
from tests.cli.collection import environment

_LONG = os.environ.get("ACTIVEINDEX_LONG") == "1"


def make_inputs(base: Path) -> None:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:72, 0:72]
    (base / "in").mkdir()
    for number in range(3):
        a, b = generator.uniform(4, 14, 2)
        waves = ((np.sin(x / a) + 1) * 120, (np.cos(y / b) + 1) * 120, (x * y * (number + 1)) % 250)
        Image.fromarray(np.dstack(waves).astype(np.uint8)).save(base / "in" / f"{number}.png")
    features = generator.standard_normal((300, 256)).astype(np.float32)
    np.save(base / "fts.npy", features / np.linalg.norm(features, axis=1, keepdims=True))
    index = ["train_index", str(base / "index"), "--idx_factory", "IVF4,PQ8x4np"]
    assert run([*index, "--fts_training_path", str(base / "fts.npy"), "--verbose", "0"]) == 0


def test_nothing_is_lost_and_nothing_is_left_over(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    done = subprocess.run(
        [sys.executable, power.__file__, str(tmp_path), "0" if _LONG else "1"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print({name: (found["moments"], found["kills"]) for name, found in result.items()})
    assert {name: found["wrong"] for name, found in result.items()} == {name: [] for name in result}
    assert {*result} == {*power.COMMANDS}
    if _LONG:
        assert sum(found["kills"] for found in result.values()) >= 100
