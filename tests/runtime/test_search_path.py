"""Modules among downloaded pictures are never imported, however processes start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import activeindex

_NAMES = ("queue", "socket", "typing", "argparse", "sitecustomize", "torch", "colorsys")
_SHADOW = "open(f'ran_{__name__}', 'w').close(); raise ImportError('shadowed')"
_MINE = """
import os, sys

def found(number):
    import colorsys
    return number, colorsys.__file__, os.getcwd() in map(os.path.realpath, sys.path)
"""
_SCRIPT = """
import sys
sys.path[:] = [each for each in sys.path if each not in ("", {here!r})] + [{here!r}]
from activeindex.runtime.pool import LocalEngine
import mine
with LocalEngine(1) as workers:
    print(*workers.map(mine.found, [7]))
"""


def python(folder: Path, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder, with the empty part of PYTHONPATH that `:$OLD` often leaves."""
    package = str(Path(activeindex.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{package}:"},
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in _NAMES:
        (tmp_path / f"{name}.py").write_text(_SHADOW)
    (tmp_path / "mine.py").write_text(_MINE)
    return tmp_path


def marks(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("ran_*")]


@pytest.mark.parametrize("how", ["-c", "-"])
def test_workers_import_from_the_current_folder_what_the_script_has_imported_alone(
    folder: Path, how: str
) -> None:
    script = _SCRIPT.format(here=str(folder.resolve()))
    arguments = ["-P", "-c", script] if how == "-c" else ["-P", "-"]
    for name in ("sitecustomize", "torch"):  # This process itself would find them.
        (folder / f"{name}.py").unlink()
    done = python(folder, *arguments, given=script)
    assert done.stdout.startswith("(7, "), done.stderr
    assert str(folder) not in done.stdout
    assert done.stdout.rstrip().endswith("False)")
    assert marks(folder) == []


@pytest.mark.parametrize("start", [["-m", "activeindex"], ["-m", "activeindex.extract_fts"]])
def test_commands_import_nothing_from_the_current_folder(folder: Path, start: list[str]) -> None:
    (folder / "sitecustomize.py").unlink()  # Python imports it before any command begins.
    command = [*start, "models"] if start == ["-m", "activeindex"] else [*start, "--help"]
    done = python(folder, *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert marks(folder) == []
