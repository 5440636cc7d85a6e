"""``store check`` finds every flipped bit, and names the file or the image."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.check import check_store
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import ENGINES, batch, queries

FLIPS = 8
"""Flipped bits of each file, besides one of its first byte and one of its last."""


@pytest.fixture(scope="module", params=ENGINES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trained: TrainedIndex
) -> str:
    """A store with everything that it can hold, and something removed."""
    address = f"{request.param}{tmp_path_factory.mktemp('checked') / 'store'}"
    if request.param == "lance://":
        pytest.importorskip("lance")
    with Store.create(address, trained) as store:
        store.add(batch(60))
        store.add(
            batch(40, 1, "more"),
            released_features=features(40, 64, 2),
            thumbnails=[b"a small picture"] * 40,
            tags=[["summer"]] * 40,
            metadata=[{"rights": "ours"}] * 40,
        )
        store.remove([3, 70])
    return address


def files(address: str) -> Iterator[Path]:
    """Files that carry data: of an empty log and SQLite's shared memory nothing is kept."""
    for path in sorted(Path(address.partition(":")[2].removeprefix("//")).rglob("*")):
        if path.is_file() and not path.name.endswith(("-shm", "-wal")):
            yield path


def lines(address: str, *, full: bool = False) -> list[str]:
    try:
        return list(check_store(address, full=full))
    except InputError as error:  # Of the note of the store.
        return [str(error)]


def test_a_store_as_it_was_written_has_no_faults(filled: str) -> None:
    assert lines(filled) == lines(filled, full=True) == []


def test_every_flipped_bit_is_found_in_the_file_that_is_named(filled: str) -> None:
    chance, unnoticed = random.Random(0), []
    for path in files(filled):
        good = path.read_bytes()
        places = [0, len(good) - 1, *(chance.randrange(len(good)) for _ in range(FLIPS))]
        for place in places:
            bad = bytearray(good)
            bad[place] ^= 1 << chance.randrange(8)
            path.write_bytes(bad)
            if not any(str(path) in line for line in lines(filled)):
                unnoticed.append((path, place))
        path.write_bytes(good)
    assert unnoticed == []
    assert lines(filled) == []


def test_missing_and_shortened_files_are_named(filled: str) -> None:
    for path in files(filled):
        good = path.read_bytes()
        path.unlink()
        assert any(str(path) in line or path.name == "store.json" for line in lines(filled))
        path.write_bytes(good[:-1])
        assert any(str(path) in line for line in lines(filled))
        path.write_bytes(good)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE images SET psnr = psnr + 1 WHERE id = 6", "record of the image with id 6 "),
        ("UPDATE images SET name = 'other' WHERE id = 7", "record of the image with id 7 "),
        ("UPDATE images SET tags = '[]' WHERE id = 61", "record of the image with id 61 "),
        ("UPDATE features SET feature = zeroblob(256) WHERE id = 5", "feature of the image with"),
        ("UPDATE thumbnails SET thumbnail = x'00' WHERE id = 62", "thumbnail of the image with"),
        ("DELETE FROM features WHERE id = 9", "feature of the image with id 9 "),
        ("UPDATE codes SET code = zeroblob(9) WHERE id = 8", "codes"),
        ("DELETE FROM codes WHERE id = 8", "codes"),
        ("DELETE FROM images WHERE id = 8", "expected 98 images, found 97"),
    ],
)
def test_an_image_that_another_program_changes_is_named_by_the_full_check(
    filled: str, change: str, expected: str, tmp_path: Path
) -> None:
    if filled.startswith("lance"):
        pytest.skip("of SQLite")
    copy = tmp_path / "copy"
    shutil.copytree(filled.partition(":")[2], copy)
    [path] = copy.rglob("records.sqlite")
    with sqlite3.connect(path) as database:
        database.execute(change)
    database.close()
    found = lines(f"faiss:{copy}", full=True)
    assert any(expected in line for line in found), found
    assert all("\n" not in line for line in found)


def test_a_code_that_is_not_as_it_was_written_is_not_searched(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        store.add(batch(60))
    [path] = tmp_path.rglob("records.sqlite")
    data = bytearray(path.read_bytes())
    code = trained.quantiser.encode(batch(60).features[30:31]).tobytes()
    places = [place for place in range(len(data)) if data[place : place + len(code)] == code]
    for place in places:
        data[place + 4] ^= 1
    path.write_bytes(data)
    with Store(f"faiss:{tmp_path / 's'}") as store:
        with pytest.raises(InputError, match=r"expected the codes as .* `activeindex store check`"):
            store.search_features(queries(1))
        with pytest.raises(InputError, match="record of the image with id 30 as it was written"):
            store.get(np.arange(60))
        assert len(store.get(np.arange(30))) == 30


def test_a_log_of_transactions_that_lost_a_bit_is_not_cut_off_without_a_word(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    """SQLite ends a log at the first frame whose checksum is wrong."""
    copy = tmp_path / "copy"
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        for part in range(3):
            store.add(batch(20, part, f"part{part}"))
        shutil.copytree(tmp_path / "s", copy)  # As a kill leaves it.
    assert lines(f"faiss:{copy}", full=True) == []
    [log] = copy.rglob("*-wal")
    data = bytearray(log.read_bytes())
    data[5000] ^= 1
    log.write_bytes(data)
    assert any(str(log) in line for line in lines(f"faiss:{copy}"))
    with pytest.raises(InputError, match=r"-wal: expected \d transactions as they were written"):
        Store(f"faiss:{copy}")
