"""Curves of a run for TensorBoard."""

import subprocess
import sys

MISSING = """
import sys
sys.modules["tensorboard"] = None
from pathlib import Path
from activeindex.errors import ActiveIndexError
from activeindex.experiment.watching import TensorBoard
try:
    TensorBoard(Path("board"), 10)
except ActiveIndexError as error:
    print(error)
"""


def test_without_tensorboard_the_extra_is_named() -> None:
    said = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True)
    assert 'pip install "activeindex[tensorboard]"' in said.stdout
