"""Index files of strangers harm nobody, and known ones are read without a detour."""

import os
import stat
from pathlib import Path

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.indexing import reading
from activeindex.indexing.artefact import TrainedIndex, train_index
from activeindex.indexing.reading import read_index
from tests.indexing.trained import copy_of, features, trained

CRASHES = bytes.fromhex(
    "49784c6110000000020000000200000004000000100000000000000000000000000010000000000000001000"
    "00000000010100000000000000000000009134613ffffd623faeefaa403628a740"
)
"""A lattice of a radius that it cannot have."""

ENDLESS = bytes.fromhex(
    "4978486510000000000000000000000000001000000000000000100000000000010100000010000000000000"
    "000040000000000200000072726f740000000000000000000000000000000000100000001000000000000000"
    "0000000000"
)
"""A rotation of 93 bytes that says it holds a billion values."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "activeindex" / "indexes"


def written(path: Path, index: faiss.Index) -> Path:
    faiss.write_index(index, str(path))
    return path


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("content", "reason"), [(CRASHES, "SIGSEGV"), (ENDLESS, "memory")])
def test_a_file_that_would_end_the_process_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "theirs.faiss"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(InputError, match=rf"^{path}: expected a FAISS index file \(.*{reason}"):
            TrainedIndex.read(path)


def test_a_file_is_tried_in_a_child_process_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "theirs.index", trained("IVF16,PQ8x8np"))
    read_index(path)
    (known,) = cache.iterdir()
    assert known.stat().st_size == 0

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a child process for a known file")

    monkeypatch.setattr(reading, "run_in_child", fail)
    read_index(path)
    assert read_index(path.rename(tmp_path / "elsewhere.index")).d == 64
    with pytest.raises(AssertionError, match="a child process"):
        read_index(written(path, trained("IVF16,SQ8")))


@pytest.mark.usefixtures("cache")
def test_what_is_trained_here_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_index(features(300), "IVF4,PQ2x4").save(tmp_path / "index")
    monkeypatch.setattr(reading, "run_in_child", None)
    TrainedIndex.read(tmp_path / "index")


@pytest.mark.parametrize("place", ["a file", "nowhere/\0", "relative"])
def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "a file"))
    if "\0" not in place:
        value = place if place == "relative" else str(tmp_path / place)
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "theirs.index", trained("IVF16,SQ8"))
    for _ in range(2):
        assert read_index(path).d == 64
    assert {each.name for each in tmp_path.iterdir()} == {"a file", "theirs.index"}


@pytest.mark.usefixtures("cache")
def test_a_name_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "plain.index", trained("IVF16,SQ8"))
    odd = path.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.index")))
    assert read_index(odd).d == 64


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFLNK, stat.S_IFDIR])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "odd.index"
    if kind == stat.S_IFIFO:
        os.mkfifo(path)
    elif kind == stat.S_IFLNK:
        path.symlink_to(path)
    else:
        path.mkdir()
    for read in (read_index, TrainedIndex.read):
        with pytest.raises(InputError, match=r"odd\.index: expected "):
            read(path)


@pytest.mark.usefixtures("cache")
def test_every_index_file_with_a_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    """What the child process lets through does not harm this one."""
    generator, path = np.random.default_rng(0), tmp_path / "changed.index"
    for factory in ("IVF16,PQ2x8", "OPQ8_32,PQ8x8np", "PCA32,LSH", "IVF16,SQ8"):
        whole = bytearray(faiss.serialize_index(copy_of(trained(factory))).tobytes())
        for _ in range(2):
            damaged = whole.copy()
            damaged[generator.integers(200)] ^= 1 << int(generator.integers(8))
            path.write_bytes(damaged)
            try:
                TrainedIndex.read(path).quantiser.reconstruct(features(3, 64))
            except InputError:
                continue
