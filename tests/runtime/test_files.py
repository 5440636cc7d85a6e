import hashlib
import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from activeindex.errors import InputError, OutputError
from activeindex.images.encoding import write_png
from activeindex.runtime.files import (
    check_file,
    check_folder,
    file_hash,
    read_json,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_replaces_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new")
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_readers_see_the_old_content_while_the_new_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with whole_file(tmp_path / "a.txt") as beside:
        beside.write_text("half of the n")
        assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError, RuntimeError])
def test_the_old_content_stays_when_writing_fails(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole_file(path) as beside:
            beside.write_text("half of the n")
            raise error

    with pytest.raises((error, OutputError)):
        fail()
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_the_folder_is_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "note.json", {"é": [1, 2.5]})
    assert read_json(tmp_path / "a" / "b" / "note.json") == {"é": [1, 2.5]}


def test_a_folder_that_cannot_be_made_is_named_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / "file" / "a.txt", "text")
    assert (
        str(caught.value)
        == f"{tmp_path}/file/a.txt: cannot be written (a file has its folder's name)"
    )
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written \(Not a directory\)$"):
        write_text(tmp_path / "file" / "folder" / "a.txt", "text")


def test_a_full_disk_is_named_and_keeps_the_old_file(tiny_disk: Path) -> None:
    write_text(tiny_disk / "a.txt", "old")
    with pytest.raises(
        OutputError, match=r"^\S+a\.txt: cannot be written \(No space left"
    ) as caught:
        write_text(tiny_disk / "a.txt", "x" * 100_000)
    assert "\n" not in str(caught.value)
    assert contents(tiny_disk) == {"a.txt": b"old"}


def test_an_image_that_does_not_fit_on_the_disk_leaves_nothing(tiny_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(200, 200, 3), dtype=np.uint8)
    with pytest.raises(OutputError, match=r"^\S+a\.png: cannot be written"):
        write_png(tiny_disk / "a.png", noise)
    assert contents(tiny_disk) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1]", "a list"),
        ("{", "something else"),
        ("\xff", "something else"),
        ("[" * 100_000, "something else (nested too deeply)"),
        ('{"a": ' * 100_000, "something else (nested too deeply)"),
        ('{"a": 1, "a": 2}', "something else (an object has a key twice)"),
        ('{"code_views": 1, "descriptor_views": 2}', "something else (an object has a key twice)"),
        ('{"a": 18446744073709551616}', "something else (a whole number has more than 64 bits)"),
        ('{"a": 1' + "0" * 10_000 + "}", "something else (a whole number has more than 64 bits)"),
    ],
)
def test_other_than_a_json_object_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(
        InputError, match=re.escape(f"{path}: expected a JSON object, found {found}")
    ):
        read_json(path)


@pytest.mark.parametrize("value", [1.0, True, None, "1", [1], {"a": 1}, float("nan")])
def test_a_value_of_another_type_is_refused_by_its_key(tmp_path: Path, value: object) -> None:
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"next": value}))
    expected = re.escape(f"{path}: expected a whole number as next, found {value!r}")
    with pytest.raises(InputError, match=f"^{expected}$"):
        read_json(path, {"next": int, "other": str})


def test_a_note_is_readable_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "note.json", {"name": "Zoë"})
    text = (tmp_path / "note.json").read_text(encoding="utf-8")
    assert text == '{\n  "name": "Zoë"\n}\n'
    assert json.loads(text) == {"name": "Zoë"}


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert file_hash(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_what_is_not_a_folder_or_a_file_is_told_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert check_file(tmp_path / "a", "model_path") == tmp_path / "a"
    assert check_folder(tmp_path, "data_dir") == tmp_path
    for check, path, message in (
        (check_folder, tmp_path / "a", "data_dir {}: expected a folder, found a file"),
        (check_folder, tmp_path / "b", "data_dir {}: expected a folder, found nothing"),
        (check_file, tmp_path, "data_dir {}: expected a file, found a folder"),
        (check_file, tmp_path / "b", "data_dir {}: expected a file, found nothing"),
    ):
        with pytest.raises(InputError) as caught:
            check(path, "data_dir")
        assert str(caught.value) == message.format(path)


def test_keys_of_release_0_1_are_read_under_their_names_since(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"settings": {"code_views": 8, "scaling": 3.0}}')
    assert read_json(tmp_path / "a.json") == {"settings": {"descriptor_views": 8, "scaling": 3.0}}


def write_and_die(path: Path, contents: str) -> None:
    """Killed between writing and renaming."""
    with whole_file(path) as beside:
        beside.write_text(contents)
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(path, "old"))
    process.start()
    process.join()
    (left,) = tmp_path.iterdir()
    assert left.name != "a.txt"
    write_text(path, "n")
    assert contents(tmp_path) == {"a.txt": b"n"}


def test_two_writers_of_one_file_do_not_mix_their_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert contents(tmp_path) == {"a.txt": b"first"}


@pytest.mark.parametrize("name", ["写" * 83 + ".txt", "x" * 255, "line\nend, \udcff.txt", "-"])
def test_every_name_that_the_file_system_holds_is_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert contents(tmp_path) == {name: b"text"}


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "a") as beside:
        write_text(beside / "1", "one")
        assert not (tmp_path / "a").exists()
    assert contents(tmp_path / "a") == {"1": b"one"}
    with pytest.raises(OutputError, match="a: cannot be written"), whole_folder(tmp_path / "a"):
        pass

    def fail() -> None:
        with whole_folder(tmp_path / "b") as beside:
            write_text(beside / "1", "one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
