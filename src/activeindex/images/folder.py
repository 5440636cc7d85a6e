"""Image files of a folder."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.files import check_folder

EXTENSIONS = frozenset(
    {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
"""Suffixes of image files, in lower case; other files are skipped."""

OTHER_IMAGES = {
    "images": "results of other images, or of these before they were written to (their names, "
    "sizes and times of change are compared)"
}
"""Explanation of differing fingerprints, for :class:`~activeindex.runtime.journal.Journal`."""


def list_images(folder: Path, option: str = "data_dir") -> list[Path]:
    """List the image files in ``folder`` and its subfolders; linked folders are not entered.

    Args:
        folder: The folder to look in.
        option: What the user calls the folder, for the messages.

    Returns:
        Paths that begin with ``folder``, in the order of their relative path. Nothing is opened.

    Raises:
        InputError: If the folder is missing or holds no image.
    """
    check_images(folder, option)
    return [folder / name for name in sorted(_walk(folder, ""))]


def check_images(folder: Path, option: str = "data_dir") -> None:
    """Check that a folder holds an image; it takes no longer for a million of them.

    Raises:
        InputError: As :func:`list_images`.
    """
    check_folder(folder, option)
    if next(_walk(folder, ""), None) is None:
        known = " ".join(sorted(EXTENSIONS))
        raise InputError(f"{option} {folder}: expected images ({known}), found none")


def other_files(folder: Path) -> list[str]:
    """List the files and linked folders in ``folder`` that are not images, sorted by path.

    Hidden files are left out.
    """
    return sorted(_walk(folder, "", images=False))


def fingerprint(folder: Path, paths: Sequence[Path]) -> str:
    """Hash names, sizes and times: changes when a file is added, removed, renamed or written.

    Args:
        folder: Names are relative to it.
        paths: As from :func:`list_images`. Contents are not read, only sizes and times.
    """
    digest = hashlib.sha256()
    start = len((folder / "x").as_posix()) - 1  # relative_to takes as long as the file's stat.
    for path in paths:
        name = path.as_posix()[start:]
        try:
            stat = path.stat()
            line = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        except OSError:
            line = f"{name}\0missing\n"  # A broken link; reading it will say so.
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_outside(output_dir: Path, folder: Path) -> None:
    """Check that outputs do not land among the images, where they would become inputs.

    Raises:
        InputError: If ``output_dir`` is ``folder`` or below it.
    """
    if output_dir.resolve().is_relative_to(folder.resolve()):
        outside = f"expected one outside the images' folder {folder}"
        raise InputError(f"output folder {output_dir}: {outside}")


def _walk(folder: Path, prefix: str, *, images: bool = True) -> Iterator[str]:
    """Yield the names of the images, or of the other files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below = f"{prefix}{entry.name}/"
                yield from _walk(folder / entry.name, below, images=images)
                continue
            extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a million names)
            image = extension in EXTENSIONS and not _is_folder(entry)
            if image == images:
                yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """True for folders and links to them."""
    try:
        return entry.is_dir()
    except OSError:  # A link to itself; reading it will say so.
        return False
