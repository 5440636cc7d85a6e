"""Writers that are killed, or whose machine loses power, at any flush, rename or removal."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = "ACTIVEINDEX_LONG" in os.environ
KILLS = 20 if LONG else 1
"""Kills of each action; each leaves three stores to look at."""


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
@pytest.mark.parametrize("engine", ["faiss:", "lance://"])
def test_nothing_acknowledged_is_lost_and_the_same_command_finishes(
    engine: str, tmp_path: Path
) -> None:
    if engine == "lance://":
        pytest.importorskip("lance")
        if not LONG:
            pytest.skip("takes a minute; set ACTIVEINDEX_LONG=1")
    faults = tmp_path / "faults.so"
    made = ["cc", "-shared", "-fPIC", "-w", "-o", str(faults), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(made, check=True)
    root = tmp_path / "campaign"
    root.mkdir()
    seed = os.environ.get("ACTIVEINDEX_SEED", "11")
    told = subprocess.run(
        [sys.executable, "-m", "tests.stores.campaign", str(root), engine, seed, str(KILLS)],
        cwd=HERE.parents[1],
        env={**os.environ, "LD_PRELOAD": str(faults), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-8000:]
    done = json.loads(told.stdout.splitlines()[-1])
    assert sum(done.values()) >= 6 * KILLS - 2, done
