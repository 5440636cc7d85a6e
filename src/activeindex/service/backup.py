"""Backup and restoration of a store with what its service keeps, while it runs."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import check_folder, whole_folder
from activeindex.runtime.locking import only_run
from activeindex.runtime.reporting import SILENT, Reporter
from activeindex.service.database import FILE, FOLDER
from activeindex.stores.address import STORE_FILE, Address
from activeindex.stores.check import check_store

_IMMUTABLE = ("released", "uploads")
"""Folders whose files never change: the service adds and removes them whole."""


def back_up(store: str | Path, copy: Path) -> None:
    """Copy a store, and what its service keeps, to a new folder, which appears whole.

    The service may run: it goes on to search, and waits with writing while the store itself is
    copied. Jobs and releases are copied first, so that the copy has no job that is done without its
    image.

    Args:
        store: Address of the store.
        copy: The new folder.

    Raises:
        InputError: If there is no such store, or something at ``copy``.
        BusyError: If another process is writing for long.
    """
    folder = Address.parse(store).path
    check_folder(folder, "STORE")
    _check_free(copy)
    with whole_folder(copy) as made:
        service = folder / FOLDER
        if service.is_dir():
            (made / FOLDER).mkdir(parents=True)
            _copy_database(service / FILE, made / FOLDER / FILE)
        with only_run(folder, "store", wait=60.0):
            for path in folder.iterdir():
                if path.name == FOLDER or path.name.startswith("."):
                    continue
                if path.is_dir():
                    shutil.copytree(path, made / path.name)
                else:
                    shutil.copy2(path, made / path.name)
        for name in _IMMUTABLE:
            if (service / name).is_dir():
                shutil.copytree(service / name, made / FOLDER / name, copy_function=_copy_if_there)


def restore(copy: Path, store: str | Path, reporter: Reporter = SILENT) -> None:
    """Make a store of a copy of :func:`back_up`, after a check of every byte of it.

    Args:
        copy: The folder of the copy.
        store: Folder of the new store.
        reporter: Shows the progress of the check.

    Raises:
        InputError: If the copy is damaged or none, or there is something at ``store``.
    """
    check_folder(copy, "BACKUP")
    if not (copy / STORE_FILE).is_file():
        raise InputError(f"BACKUP {copy}: expected a copy of a store, found no {STORE_FILE}")
    target = Address.parse(store, create=True).path
    _check_free(target)
    for line in check_store(copy, reporter=reporter):
        raise InputError(f"BACKUP {copy}: {line}")
    with whole_folder(target) as made:
        shutil.copytree(copy, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def _check_free(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: expected nothing there, found something; choose another place")


def _copy_database(source: Path, copy: Path) -> None:
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30.0)) as old,
        contextlib.closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


def _copy_if_there(source: str, copy: str) -> str:
    """Copy a file that the service may remove at any moment."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, copy)
    return copy
