"""Folders of links to images: a subset of a large set without copying it.

A folder appears whole or not at all: it is built beside its place and renamed. A folder that is
already there is replaced only if it holds nothing but links.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import output_error, sync_folder
from activeindex.runtime.reporting import Progress

_REPORTED_EVERY = 2000


@dataclass(frozen=True)
class LinkedFolder:
    """A finished folder of links.

    Attributes:
        path: The folder.
        count: Number of links in it.
        kept: True if it was there already, with exactly these links.
    """

    path: Path
    count: int
    kept: bool


def check_replaceable(folder: Path) -> None:
    """Check that ``folder`` can be replaced without losing anything.

    Raises:
        InputError: If something other than a folder of links is there.
    """
    if folder.is_symlink() or folder.is_file():
        raise InputError(f"{folder}: expected nothing or a folder of links, found a link or a file")
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        if other := next((entry.path for entry in entries if not entry.is_symlink()), None):
            raise InputError(
                f"{other}: expected links only, found something else, which is not deleted; move "
                "it away or give another output_dir"
            )


def write_links(
    folder: Path, source: Path, names: Sequence[str], progress: Progress
) -> LinkedFolder:
    """Make ``folder`` hold links to ``source / name``, and nothing else.

    Args:
        folder: The folder to make or to replace; the folder that it is in exists.
        source: Where the images are, absolute.
        names: File names, without duplicates.
        progress: Counts the links.

    Raises:
        InputError: If something other than links is in the way.
        OutputError: If the links cannot be written.
    """
    check_replaceable(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    replaced = folder.with_name(f".{folder.name}.replaced")
    try:
        for left_over in (partial, replaced):  # By a run that was killed.
            check_replaceable(left_over)
            _remove_links(left_over)
        if folder.is_dir() and _holds_exactly(folder, source, names):
            progress.advance(len(names))
            return LinkedFolder(folder, len(names), kept=True)
        try:
            partial.mkdir()
            _link_all(partial, source, names, progress)
            sync_folder(partial)
            if folder.exists():
                folder.rename(replaced)
            partial.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            if replaced.exists() and not folder.exists():
                replaced.rename(folder)
            _remove_links(partial)
            raise
        _remove_links(replaced)
    except OSError as error:
        raise output_error(folder, error) from error
    return LinkedFolder(folder, len(names), kept=False)


def _holds_exactly(folder: Path, source: Path, names: Sequence[str]) -> bool:
    with os.scandir(folder) as entries:
        found = {entry.name for entry in entries}
    if len(found) != len(names) or not found.issuperset(names):
        return False
    inside, target = f"{folder}{os.sep}", f"{source}{os.sep}"
    return all(os.readlink(inside + name) == target + name for name in names)  # noqa: PTH115 (a million links)


def _link_all(folder: Path, source: Path, names: Sequence[str], progress: Progress) -> None:
    # Plain strings: a million Path objects would take longer than the links themselves.
    inside, target = f"{folder}{os.sep}", f"{source}{os.sep}"
    for start in range(0, len(names), _REPORTED_EVERY):
        block = names[start : start + _REPORTED_EVERY]
        for name in block:
            os.symlink(target + name, inside + name)  # noqa: PTH211
        progress.advance(len(block))


def _remove_links(folder: Path) -> None:
    """Remove a folder of links; it stays if it holds anything else."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        links = [entry.path for entry in entries if entry.is_symlink()]
    for link in links:
        os.unlink(link)  # noqa: PTH108
    with contextlib.suppress(OSError):
        folder.rmdir()
