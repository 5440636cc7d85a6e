"""Finished runs on the command line."""

from collections.abc import Iterable
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import check_folder


def named_runs(given: Iterable[Path]) -> dict[str, Path]:
    """The folders of runs by their names, ``FOLDER`` or ``NAME=FOLDER`` each.

    Raises:
        InputError: If a folder is missing, or two runs have the same name.
    """
    runs: dict[str, Path] = {}
    for argument in given:
        name, path = _named(argument)
        check_folder(path, "run")
        if name in runs:
            raise InputError(f"run {argument}: another run is called {name!r}; give NAME=FOLDER")
        runs[name] = path
    return runs


def _named(given: Path) -> tuple[str, Path]:
    """Split ``NAME=FOLDER``, unless a folder has that very name."""
    name, equals, folder = str(given).partition("=")
    if equals and name and folder and not given.is_dir():
        return name, Path(folder)
    return given.resolve().name, given
