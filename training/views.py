"""The bank: every training image with edited views of it, as small squares.

The edits are the package's own, on 8-bit images, and take 20 ms each; they are made once before the
training, so that the loop never waits for them.
"""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from activeindex.edits.composition import random_composition
from activeindex.errors import InputError
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import fingerprint, list_images
from activeindex.images.levels import to_pixels, to_square
from activeindex.runtime.files import read_json, write_json
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import Progress

Bank = npt.NDArray[np.uint8]
"""``(N, K + 1, 3, S, S)``, 8-bit RGB: slot 0 is the image itself, the others are edited."""

_LONGEST = 3
"""Images are reduced to this many times the bank's side before they are edited."""


@dataclass(frozen=True)
class BankSettings:
    """Settings of a bank.

    Attributes:
        views: Edited views of each image, ``K``.
        size: Side of the squares in pixels, ``S``.
        seed: Seed of the edits.
    """

    views: int = 8
    size: int = 224
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("views", self.views, 1), ("bank_size", self.size, 32)):
            if value < least:
                raise InputError(f"{name}: expected {least} or more, found {value}")
        if self.seed < 0:
            raise InputError(f"seed: expected 0 or more, found {self.seed}")


def view_generator(seed: int, image: int, view: int) -> np.random.Generator:
    """Make the random generator of one view, independent of all other views."""
    return np.random.default_rng(np.random.SeedSequence([seed, image, view]))


def views_of(path: Path, number: int, settings: BankSettings) -> Bank:
    """Make one image's row ``(K + 1, 3, S, S)`` of the bank.

    Raises:
        UnreadableImageError: If the image cannot be decoded.
    """
    image = read_rgb(path, 2 * settings.size)
    image.thumbnail((_LONGEST * settings.size,) * 2)
    seen = [image]
    for view in range(settings.views):
        generator = view_generator(settings.seed, number, view)
        seen.append(random_composition(image, generator).image)
    squares = [to_pixels(to_square(one, settings.size)) for one in seen]
    return np.stack(squares).transpose(0, 3, 1, 2)


def build_bank(
    folder: Path,
    out: Path,
    settings: BankSettings,
    workers: LocalEngine | None = None,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Bank:
    """Make the bank of a folder of images, or open the existing one.

    An interrupted call goes on where it was. The result depends on the images and the settings
    alone, not on the number of workers.

    Args:
        folder: Folder of training images.
        out: The ``.npy`` file; its note, a ``.json`` file, lies beside it.
        settings: Settings of the bank; a bank of other settings is replaced.
        workers: Processes to edit in.
        limit: Number of images to take; None for all.
        progress: Advances with every image.

    Returns:
        The bank, mapped from the disk.

    Raises:
        InputError: If there are no images, or one cannot be decoded.
    """
    paths = list_images(folder)[:limit]
    shape = (len(paths), settings.views + 1, 3, settings.size, settings.size)
    note = {"images": fingerprint(folder, paths), "count": len(paths), **asdict(settings)}
    progress = progress or Progress()
    if out.is_file() and _noted(out) == note:
        progress.advance(len(paths))
        return _open(out, "r")
    part, marks = out.with_suffix(".partial.npy"), out.with_suffix(".done.npy")
    if not (part.is_file() and marks.is_file() and _noted(part) == note):
        out.parent.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        np.lib.format.open_memmap(marks, "w+", np.uint8, (len(paths),))
        write_json(part.with_suffix(".json"), note)
    done = _open(marks, "r+")
    progress.advance(int(done.sum()))
    work = functools.partial(_write_row, part=part, settings=settings)
    missing = [(number, path) for number, path in enumerate(paths) if not done[number]]
    for number in (workers or LocalEngine()).map(work, missing):
        done[number] = 1
        progress.advance()
    out.with_suffix(".json").unlink(missing_ok=True)  # Never an old note beside a new bank.
    part.replace(out)
    part.with_suffix(".json").replace(out.with_suffix(".json"))
    marks.unlink()
    return _open(out, "r")


def _write_row(task: tuple[int, Path], part: Path, settings: BankSettings) -> int:
    """Write a row to the disk, which the main process would be too slow for."""
    number, path = task
    _open(part, "r+")[number] = views_of(path, number, settings)
    return number


def _open(path: Path, mode: Any) -> Bank:
    return np.load(path, mmap_mode=mode, allow_pickle=False)  # type: ignore[no-any-return]


def _noted(path: Path) -> dict[str, Any] | None:
    note = path.with_suffix(".json")
    return read_json(note) if note.is_file() else None
