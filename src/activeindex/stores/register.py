"""Registration: activate the pictures of a folder and add them to a store, in one step.

The store is the only record of what is done: a picture is registered when the store has its name. A
killed registration has at most written a few released files more, which the next one replaces.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from activeindex.activation.activate import Activation
from activeindex.activation.job import Item, Released, ReleaseJob
from activeindex.activation.records import RECORDS_FILE
from activeindex.activation.results import output_names
from activeindex.activation.settings import DESCRIPTOR_VIEWS, Preset
from activeindex.edits.differentiable import check_fixed_views, fixed_views
from activeindex.errors import InputError, reason_of
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import ExtractorLike, resolve_extractor
from activeindex.extractors.features import ExtractionJob, features_of
from activeindex.identity import same
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import check_outside, list_images
from activeindex.images.levels import to_square
from activeindex.indexing.packaged import default_index
from activeindex.indexing.quantiser import Features
from activeindex.runtime.files import (
    check_written,
    make_folder,
    parse_json,
    read_json,
    write_json,
)
from activeindex.runtime.locking import only_run
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import SILENT, Progress, Reporter, counted
from activeindex.stores.address import STORE_FILE, Address
from activeindex.stores.ingest import NewImages, PathLike
from activeindex.stores.known_files import KnownFiles
from activeindex.stores.records import Record
from activeindex.stores.store import Store, TrainedLike, as_trained

_SECONDS = 10.0
"""Seconds after which pictures that are done are added to the store."""

_TOGETHER = 32
"""Untouched pictures that go through the extractor together."""

MOST_CODES = 3
"""Codes that lead to a picture, at most."""

_PENDING = ".register.json"
"""File in the folder of released pictures: names of files that are about to be written there."""

_KNOWN = ".registered.json"
"""File in the folder of a store: pictures that need not be read again to be known as registered."""

_WAIT = 600.0
"""Seconds to wait for another process that is writing to the store."""


@dataclass(frozen=True)
class Registration:
    """Outcome of :func:`register`; ``str()`` is a line.

    Attributes:
        count: Pictures that this call registered.
        before: Pictures of the folder that were registered before.
        released: Folder of the released pictures; None if all stay untouched.
        left_out: One line for each picture that is not registered, with the reason.
        warnings: One line for each picture that is not quite what was asked for; see
            :class:`~activeindex.activation.folder.FolderActivation`.
    """

    count: int
    before: int
    released: Path | None
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{counted(self.count, 'picture')} registered"
        text += f", {self.before} registered before" if self.before else ""
        return text + (f", {len(self.left_out)} left out" if self.left_out else "")


@dataclass(frozen=True)
class _Done:
    """A picture that can be added, with the feature of its released file where it has one."""

    name: str
    feature: npt.NDArray[np.float32]
    record: Mapping[str, Any] | None = None
    released: npt.NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()


def register(
    pictures: PathLike,
    store: PathLike,
    released: PathLike | None = None,
    *,
    index: TrainedLike | None = None,
    extractor: ExtractorLike = None,
    preset: str | Preset = "thorough",
    untouched: bool = False,
    codes: int = 1,
    seed: int = 0,
    workers: Engine | None = None,
    reporter: Reporter = SILENT,
    **options: Any,
) -> Registration:
    """Activate the pictures of a folder and add them to a store, which is made if there is none.

    Called again, it takes the pictures that are new in the folder. Killed and called again, it goes
    on where it was, and no picture is registered twice. Files that cannot be read, and pictures
    whose name the store has for another file, are left out.

    Args:
        pictures: Folder of the pictures.
        store: ``faiss:PATH`` or ``lance://PATH``; a new path alone is one of ``faiss:``.
        released: Folder that gets the activated pictures, which are to be published; by default
            that of the pictures with ``_released`` behind its name.
        index: Trained index, or its folder or file; by default that of the store's newest
            generation, and in a new store the one that this package ships.
        extractor: Extractor of the features that the index was trained on.
        preset: ``thorough``, ``deep``, ``fast``, ``paper`` or ``harden``, or your own.
        untouched: Add pictures as they are, since they have been published already.
        codes: Codes that lead to a picture, 1 to 3: those beyond the first are of edited views of
            what is published, see ``view_features`` of :meth:`Store.add`.
        seed: Seeds the noise that the distortions start from.
        workers: Engine that computes; this process alone by default.
        reporter: Shows the progress.
        options: As of :func:`~activeindex.activation.folder.activate_folder`; ``descriptor_views``
            is 12 by default, of untouched pictures, too, unless the preset is one of your own.

    Raises:
        InputError: If there are no pictures, or the store is of another index or extractor.

    Example:
        >>> print(register("PICTURES", "STORE"))  # doctest: +SKIP
        12 pictures registered
    """
    pictures, workers = Path(pictures), workers or LocalEngine()
    views = DESCRIPTOR_VIEWS if isinstance(preset, str) else preset.settings.descriptor_views
    views = options.setdefault("descriptor_views", views)
    check_fixed_views("descriptor_views", views)
    paths = list_images(pictures, "PICTURES")
    if (pictures / RECORDS_FILE).is_file():
        raise InputError(
            f"PICTURES {pictures}: expected pictures to register, found activated ones; add them "
            f"by `activeindex store add {os.fspath(store)} {pictures}`"
        )
    if not 1 <= codes <= MOST_CODES:
        raise InputError(f"codes: expected 1 to {MOST_CODES}, found {codes}")
    if untouched and released is not None:
        raise InputError(f"released: expected none with untouched pictures, found {released}")
    folder = None if untouched else Path(released or f"{_named(pictures)}_released")
    if folder is not None:
        check_outside(folder, pictures)
    if Address.parse(store, create=True).path.resolve() == pictures.resolve():
        raise InputError(f"store {store}: expected another folder than that of the pictures")
    loaded = resolve_extractor(extractor)
    names = [path.relative_to(pictures).as_posix() for path in paths]
    count, warnings = 0, list[str]()
    with contextlib.ExitStack() as held:
        opened = held.enter_context(_opened(store, index, loaded))
        trained = (opened.generations[-1] if index is None else opened.generation_of(index)).trained
        opened.wait = _WAIT
        there = {record.name: record for record in opened.get(opened.named(names))}
        new = [name for name in names if name not in there]
        left_out = _others(there, pictures, Address.parse(store).path / _KNOWN)
        before = len(there) - len(left_out)
        if folder is None:
            done = _extracted(pictures, new, ExtractionJob(loaded, descriptor_views=views), workers)
        else:
            warnings += _not_there(there.values(), folder)
            activation = Activation.of(trained, loaded, preset, seed, **options)
            suffix = activation.release.format.suffix
            outputs = dict(zip(names, output_names([*map(Path, names)], suffix), strict=True))
            items = [
                Item(number, pictures / name, name, outputs[name].as_posix())
                for number, name in enumerate(new)
            ]
            items, taken = held.enter_context(_claimed(folder, items))
            left_out += taken
            done = _activated(items, activation, folder.absolute(), workers)
        progress = held.enter_context(reporter.stage("register", len(names)))
        progress.advance(before + len(left_out))
        for batch in _batches(done, progress, left_out):
            images = NewImages(
                [one.name for one in batch],
                np.stack([one.feature for one in batch]),
                {one.name: one.record for one in batch if one.record is not None},
            )
            released_features = [one.released for one in batch if one.released is not None]
            published = [
                pictures / one.name
                if one.record is None or folder is None
                else folder / one.record["output"]
                for one in batch
            ]
            count += opened.add(
                images,
                released_features=released_features if opened.format > 1 and folder else None,
                view_features=_views(published, loaded, codes - 1) if codes > 1 else None,
                index=trained,
                data_dir=pictures,
            ).count
            warnings += [line for one in batch for line in one.warnings]
    return Registration(count, before, folder, tuple(left_out), tuple(warnings))


def _named(folder: Path) -> Path:
    """The folder by its own name, which ``.`` and ``..`` are not."""
    return folder if folder.name.strip(".") else folder.resolve()


def _opened(address: PathLike, index: TrainedLike | None, extractor: Extractor) -> Store:
    """Open a store, or make it where there is none, for the features of an extractor."""
    path = Address.parse(address, create=True).path
    if (path / STORE_FILE).exists():
        store = Store(address)
        where, expected, dimension = f"store {path}", store.extractor, store.dimension
    else:
        store = None
        trained = default_index(extractor.identity) if index is None else as_trained(index)
        where, expected, dimension = f"index {trained}", trained.extractor, trained.index.d
    if not same(expected, extractor.identity) or dimension != extractor.dimension:
        raise InputError(
            f"{where}: expected the extractor {expected or f'of dimension {dimension}'}, found "
            f"{extractor.identity}; choose that extractor, or another store and index"
        )
    if store is not None:
        return store
    try:
        return Store.create(address, trained)
    except InputError:
        if not (path / STORE_FILE).exists():
            raise
    return _opened(address, index, extractor)  # Another process has made it meanwhile.


def _others(there: Mapping[str, Record], folder: Path, known_files: Path) -> list[str]:
    """Write a line for each name that a store has for another file than the folder."""
    known, others = KnownFiles(known_files), []
    for name, record in there.items():
        path = folder / name
        try:
            if record.sha256 and not known.has_hash(name, path, record.sha256):
                others.append(
                    f"{path}: expected the picture that the store has under this name, found "
                    "another; rename this one, or take that one out by `activeindex store remove`"
                )
        except OSError as error:
            others.append(f"{path}: cannot be read ({reason_of(error)})")
    known.save()
    return others


def _not_there(records: Iterable[Record], folder: Path) -> Iterator[str]:
    """Yield a warning if released pictures were moved away or deleted."""
    outputs = [record.activation["output"] for record in records if record.activation]
    if gone := [name for name in outputs if not (folder / name).exists()]:
        yield (
            f"{folder}: expected {counted(len(outputs), 'picture')} released before, found "
            f"{len(outputs) - len(gone)}, without {gone[0]}; to write one again, take it out by "
            "`activeindex store remove` first"
        )


@contextlib.contextmanager
def _claimed(folder: Path, items: Sequence[Item]) -> Iterator[tuple[list[Item], list[str]]]:
    """Announce the files that are about to be written in a folder, until all are in the store.

    Yields:
        The items whose files can be written, and a line for each of the others: a file that is
        there is replaced only if a killed registration has announced it.
    """
    if not items:
        yield [], []
        return
    make_folder(folder)
    with only_run(folder, "released"):
        note = folder / _PENDING
        announced = set(read_json(note)["outputs"]) if note.is_file() else set[str]()
        free, taken = [], []
        for item in items:
            assert item.output is not None
            if item.output in announced or not (folder / item.output).exists():
                free.append(item)
            else:
                taken.append(
                    f"{item.source}: expected no file {folder / item.output}, found one that is "
                    "not of this picture; move it away, or choose another --released"
                )
        write_json(note, {"outputs": sorted(announced | {str(item.output) for item in free})})
        yield free, taken
        note.unlink()


def _views(paths: Sequence[Path], extractor: Extractor, count: int) -> Features:
    """Features ``(n, count, d)`` of the first fixed views of pictures."""
    found = []
    for path in paths:
        square = to_square(read_rgb(path), extractor.input_size)[None]
        found.append(features_of(extractor, torch.cat(fixed_views(square, count))))
    return np.stack(found)


def _activated(
    items: Sequence[Item], activation: Activation, folder: Path, workers: Engine
) -> Iterator[_Done | str]:
    for result in workers.run(ReleaseJob(activation, activation.release, folder), items):
        if isinstance(result, Released) and result.image is not None:
            check_written(folder / str(result.item.output))
            record = parse_json(result.record)
            image = result.image
            yield _Done(
                result.item.name, image.feature, record, image.released_feature, result.warnings
            )
        else:
            yield str(result)


def _extracted(
    folder: Path, names: Sequence[str], job: ExtractionJob, workers: Engine
) -> Iterator[_Done | str]:
    batches = batches_of(names, _TOGETHER)
    paths = [[folder / name for name in batch] for batch in batches]
    for batch, found in zip(batches, workers.run(job, paths), strict=True):
        features = iter(found.features)
        for place, name in enumerate(batch):
            error = found.unreadable.get(place)
            yield _Done(name, next(features)) if error is None else str(error)


def _batches(
    done: Iterable[_Done | str], progress: Progress, left_out: list[str]
) -> Iterator[list[_Done]]:
    """Yield what is done every few seconds; the lines of what cannot be done go to ``left_out``."""
    batch, since = list[_Done](), time.monotonic()
    for one in done:
        progress.advance()
        if isinstance(one, str):
            left_out.append(one)
        else:
            batch.append(one)
        if batch and time.monotonic() - since > _SECONDS:
            yield batch
            batch, since = [], time.monotonic()
    if batch:
        yield batch
