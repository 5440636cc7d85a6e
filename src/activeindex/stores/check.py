"""Check of a store: every byte of its files, and every image, against their checksums."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.locking import only_run
from activeindex.runtime.reporting import SILENT, Reporter
from activeindex.stores.address import Address
from activeindex.stores.checksums import differences
from activeindex.stores.generation import Generation, Ids, id_batches
from activeindex.stores.records import BLOBS
from activeindex.stores.store import folders, open_generation, read_note

_TOGETHER = 1024
"""Images that are read together; one by one where some of them are damaged."""


def check_store(
    address: str | Path, *, full: bool = False, reporter: Reporter = SILENT
) -> Iterator[str]:
    """Yield a line for each file, part of a file or image that is not as it was written.

    The fast check reads every file and compares its blocks with their checksums; it finds every
    flipped bit of a store of format 2. The full one also reads every image, and asks the engine
    whether its indexes fit the images: it finds what a faulty program wrote, too.

    Args:
        address: ``faiss:PATH`` or ``lance://PATH`` of a store, or its folder.
        full: Check every image, too.
        reporter: Reports progress of the full check, by images.

    Raises:
        InputError: If there is no store, its note is damaged, or another process is writing.

    Example:
        >>> list(check_store("faiss:store", full=True))  # doctest: +SKIP
        []
    """
    where = Address.parse(address)
    with only_run(where.path, "store"):
        note = read_note(where)
        for name in folders(note):
            folder = where.path / name
            damaged = False
            for line in _lines(differences(folder)) if note["format"] > 1 else ():
                damaged = True
                yield line
            if damaged and not full:
                continue
            try:
                generation = open_generation(where, name, note)
            except ActiveIndexError as error:
                yield str(error)
                continue
            with contextlib.closing(generation):
                yield from _lines(generation.check_files(full=full))
                if full:
                    yield from _damaged_images(generation, reporter)


def _lines(found: Iterator[str]) -> Iterator[str]:
    """The lines that are found, and the error that ends them."""
    try:
        yield from found
    except ActiveIndexError as error:
        yield str(error)


def _damaged_images(generation: Generation, reporter: Reporter) -> Iterator[str]:
    try:
        ids = generation.ids()
    except ActiveIndexError as error:
        yield str(error)
        return
    if len(ids) != generation.count():
        yield f"{generation.folder}: expected {generation.count()} images, found {len(ids)}"
    with reporter.stage("check", len(ids)) as progress:
        for some in id_batches(ids, _TOGETHER):
            try:
                _read(generation, some)
            except ActiveIndexError:
                for place in range(len(some)):
                    try:
                        _read(generation, some[place : place + 1])
                    except ActiveIndexError as error:
                        yield str(error)
            progress.advance(len(some))


def _read(generation: Generation, ids: Ids) -> None:
    """Read all that there is of images.

    Raises:
        InputError: If a checksum differs, or something is missing.
    """
    if len(generation.get(ids)) != len(ids):
        raise InputError(f"{generation.folder}: expected a code of id {ids[0]}, found none")
    generation.features(ids)
    for name in BLOBS:
        generation.values(name, ids)
