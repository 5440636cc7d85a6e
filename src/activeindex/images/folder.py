"""Which images a folder holds."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import check_folder

EXTENSIONS = frozenset(
    {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
"""File names that are taken for images, in any case; other files are passed over."""

OTHER_IMAGES = {
    "images": "results of other images, or of these before they were written to (their names, "
    "sizes and times of change are compared)"
}
"""What it means that fingerprints differ, for :class:`~activeindex.runtime.journal.Journal`."""

_NO_LINE = re.compile("[\n\r\ud800-\udfff]")
"""What a list of names has no place for; surrogates are Python's for bytes that are no UTF-8."""


def list_images(folder: Path, option: str = "data_dir") -> list[Path]:
    """The image files below ``folder`` and in its subfolders; linked folders are not entered.

    Args:
        folder: The folder to look in.
        option: What the user calls the folder, for the messages.

    Returns:
        Paths that begin with ``folder``, in the order of their relative path. Nothing is opened.

    Raises:
        InputError: If the folder is missing or holds no image, or a name is none for a list of
            names: not in UTF-8, or of more than one line.
    """
    check_folder(folder, option)
    names = sorted(_walk(folder, ""))
    if not names:
        known = " ".join(sorted(EXTENSIONS))
        raise InputError(f"{option} {folder}: expected images ({known}), found none")
    for name in names:
        if _NO_LINE.search(name):
            raise InputError(
                f"{option} {folder}: expected file names of one line in UTF-8, found {name!a}"
            )
    return [folder / name for name in names]


def other_files(folder: Path) -> list[str]:
    """The names of what lies below ``folder`` and is not taken for images, sorted by path.

    Files without the name of an image and links to folders, which are not entered; no hidden ones.
    """
    return sorted(_walk(folder, "", images=False))


def fingerprint(folder: Path, paths: Sequence[Path]) -> str:
    """A hash that changes when a file is added, removed, renamed or written to.

    Args:
        folder: What the names are relative to.
        paths: As from :func:`list_images`. Contents are not read, only sizes and times.
    """
    digest = hashlib.sha256()
    start = len((folder / "x").as_posix()) - 1  # relative_to takes as long as the file's stat.
    for path in paths:
        name = path.as_posix()[start:]
        try:
            stat = path.stat()
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{name}\0missing\n".encode())  # A broken link; reading it will say so.
    return digest.hexdigest()


def check_outside(output_dir: Path, folder: Path) -> None:
    """Checks that outputs do not go among the images: at the next start they would be some.

    Raises:
        InputError: If ``output_dir`` is ``folder`` or below it.
    """
    if output_dir.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"output folder {output_dir}: expected one outside the images' folder {folder}"
        )


def _walk(folder: Path, prefix: str, *, images: bool = True) -> Iterator[str]:
    """The names of the images, or of the other files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below = f"{prefix}{entry.name}/"
                yield from _walk(folder / entry.name, below, images=images)
                continue
            extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a million names)
            image = extension in EXTENSIONS and not entry.is_dir()
            if image == images:
                yield prefix + entry.name
