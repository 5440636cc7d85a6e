"""Checksums of files: every byte that a store keeps is compared with one by ``store check``.

``checksums.json`` in the folder of a generation has the CRC-32 of each block of each file. Files
that change, which are those of SQLite, change under a *mark*: the checksums of the blocks are null
from before the change until after it, so a kill in between accuses nobody.
"""

import contextlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from activeindex.errors import InputError
from activeindex.runtime.files import parse_json, write_text

CHECKSUMS_FILE = "checksums.json"

BLOCK = 1 << 20
"""Bytes of a file that have a checksum."""

Sums: TypeAlias = dict[str, list[int | None]]
"""Checksum of each block by the name of the file, relative to the folder."""


def write_checked(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with its own checksum, whole or not at all."""
    write_text(path, _with_checksum(value))


def read_checked(path: Path) -> dict[str, Any]:
    """Read what :func:`write_checked` wrote.

    Raises:
        InputError: If a byte is another one.
    """
    text, value = path.read_bytes(), None
    with contextlib.suppress(ValueError):
        value = parse_json(text)
    if isinstance(value, dict):
        value.pop("checksum", None)
    if not isinstance(value, dict) or text != _with_checksum(value).encode():
        raise InputError(
            f"{path}: expected the file as it was written, found other bytes; put it back from a "
            "copy of the store"
        )
    return value


def _with_checksum(value: Mapping[str, Any]) -> str:
    checksum = zlib.crc32(json.dumps(value).encode())
    # One item a line, and not one number: a store has many blocks.
    items = {**value, "checksum": checksum}.items()
    lines = (f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" for key, item in items)
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def read_sums(folder: Path) -> Sums:
    """Read the checksums of a generation.

    Raises:
        InputError: If they are not there, or damaged.
    """
    path = folder / CHECKSUMS_FILE
    if not path.is_file():
        raise InputError(f"{path}: expected the checksums of a store, found nothing")
    return read_checked(path)


def write_sums(folder: Path, sums: Sums) -> None:
    """Write the checksums of a generation, whole or not at all."""
    write_checked(folder / CHECKSUMS_FILE, dict(sorted(sums.items())))


def sums_of(path: Path) -> list[int | None]:
    """Checksum of each block of a file."""
    return [zlib.crc32(block) for block in _blocks(path)]


def updated(path: Path, sums: list[int | None], changed: Iterable[int]) -> list[int | None]:
    """Checksums of a file of which some blocks have changed, or were added or cut off.

    Args:
        path: The file.
        sums: Its checksums before.
        changed: Numbers of the blocks.
    """
    size, numbers = path.stat().st_size, set(changed)
    blocks = -(-size // BLOCK)
    numbers |= {*range(len(sums) - 1, blocks), blocks - 1}  # The last ones had other lengths.
    sums = [*sums[:blocks], *[None] * (blocks - len(sums))]
    with path.open("rb") as file:
        for number in sorted(number for number in numbers if 0 <= number < blocks):
            file.seek(number * BLOCK)
            sums[number] = zlib.crc32(file.read(BLOCK))
    return sums


def differing(path: Path, sums: list[int | None]) -> list[int]:
    """Numbers of the blocks of a file whose checksums differ from those noted."""
    pairs = enumerate(zip_longest(sums_of(path), sums, fillvalue=-1))
    return [number for number, (here, noted) in pairs if noted not in (None, here)]


def check_ends(folder: Path, sums: Sums) -> None:
    """Check the first and the last block of files, which have what their readers rely on.

    Args:
        folder: The folder of the files; those that are not there are passed over.
        sums: Their checksums.

    Raises:
        InputError: If a byte is another one, or the file is longer than it was.
    """
    for name, noted in sums.items():
        path, last = folder / name, len(noted) - 1
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            same = True
            for number in sorted({0, last} & {*range(len(noted))}):
                file.seek(number * BLOCK)
                same &= noted[number] in (None, zlib.crc32(file.read(BLOCK)))
            if not same or file.read(1):
                raise InputError(
                    f"{path}: expected the file as it was written, found other bytes; put it back "
                    "from a copy of the store"
                )


def differences(folder: Path) -> Iterator[str]:
    """Yield a line for each file, or part of one, that is not as it was written.

    Raises:
        InputError: If the checksums themselves are damaged.
    """
    for name, sums in read_sums(folder).items():
        path = folder / name
        if not path.is_file():
            yield f"{path}: expected a file, found nothing"
            continue
        for number in differing(path, sums):
            first, last = number * BLOCK, (number + 1) * BLOCK
            yield f"{path}: expected bytes {first:,} to {last:,} as they were written, found others"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
