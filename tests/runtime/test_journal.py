import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activeindex.errors import InputError, OutputError
from activeindex.runtime.files import read_json
from activeindex.runtime.journal import Journal, begun_identity

FILES = ("rows", "names")
IDENTITY = {"extractor": "sscd", "settings": {"iterations": 10, "betas": (0.9, 0.99)}}

Step = dict[str, bytes]


def open_journal(folder: Path, identity: dict[str, object] | None = None) -> Journal:
    return Journal(folder, "run", identity or IDENTITY, FILES)


def do(journal: Journal, steps: list[Step]) -> None:
    for step in steps:
        for file, data in step.items():
            journal.write(file, data)
        journal.commit({"number": len(journal.steps)})


def content(steps: list[Step], file: str) -> bytes:
    return b"".join(step.get(file, b"") for step in steps)


def growing(folder: Path) -> dict[str, bytes]:
    with open_journal(folder) as journal:
        return {file: journal.growing(file).read_bytes() for file in FILES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# A step may leave a file alone, as a batch of unreadable images does.
STEPS = st.lists(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=20)), max_size=6)


@settings(max_examples=50)
@given(data=st.data(), steps=STEPS, rest=STEPS)
def test_after_a_kill_at_any_moment_exactly_the_committed_steps_are_there(
    scratch: Path, data: st.DataObject, steps: list[Step], rest: list[Step]
) -> None:
    folder = scratch / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    journal = open_journal(folder)
    do(journal, steps)
    journal.close()
    # What a kill leaves: the journal up to any byte, perhaps with blocks the disk never got, and
    # the files with at least what that journal counts.
    path = folder / ".run.journal"
    lines = path.read_bytes()
    kept = lines[: data.draw(st.integers(0, len(lines)), label="bytes of the journal")]
    committed = steps[: max(kept.count(b"\n") - 1, 0)]
    garbage = data.draw(st.sampled_from([b"", b"\0\0\0", b"{", b'{"step": {}', b"\xff\xfe"]))
    path.write_bytes(kept + garbage)
    for file in FILES:
        partial = folder / f".{file}.partial"
        written, counted = partial.read_bytes(), len(content(committed, file))
        size = data.draw(st.integers(counted, len(written)), label=f"bytes of {file}")
        partial.write_bytes(written[:size] + garbage)

    assert growing(folder) == {file: content(committed, file) for file in FILES}
    # Going on, with another reopening between any two steps, ends with the whole.
    for number, step in enumerate(rest):
        with open_journal(folder) as journal:
            assert len(journal.steps) == len(committed) + number
            do(journal, [step])
    with open_journal(folder) as journal:
        journal.finish({"count": 1})
    everything = [*committed, *rest]
    assert {path.name for path in folder.iterdir()} == {*FILES, "run.json"}
    assert {f: (folder / f).read_bytes() for f in FILES} == {
        f: content(everything, f) for f in FILES
    }


VICTIM = """
import os, signal, sys
from pathlib import Path
from activeindex.runtime.journal import Journal

folder, left = Path(sys.argv[1]), int(sys.argv[2])

def kill(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir"):
        if str(folder) in str(arguments[0]):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

sys.addaudithook(kill)
with Journal(folder, "run", {"a": 1}, ("rows", "names", "extra")) as journal:
    if not journal.finished:
        for number in range(len(journal.steps), 3):
            journal.write("rows", b"row%d" % number)
            journal.write("names", b"name%d" % number)
            journal.write("extra", b"extra%d" % number)
            journal.commit({"number": number})
        journal.finish({"count": 3}, drop=("extra",))
"""


def test_a_run_killed_before_any_of_its_file_operations_ends_the_same(tmp_path: Path) -> None:
    killed = -signal.SIGKILL
    code, operations = killed, 0
    while code == killed:
        folder = tmp_path / str(operations)
        command = [sys.executable, "-c", VICTIM, str(folder)]
        code = subprocess.run([*command, str(operations)], check=False).returncode
        subprocess.run([*command, "-1"], check=True)
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        # Only a note that was being written may lie there under another name.
        found = {name: data for name, data in found.items() if ".partial.json" not in name}
        assert found == {
            "rows": b"row0row1row2",
            "names": b"name0name1name2",
            "run.json": b'{\n  "a": 1,\n  "count": 3\n}\n',
        }, f"killed before operation {operations}"
        operations += 1
    assert code == 0
    assert operations > 10  # opening, renaming, noting and cleaning were each interrupted


def test_what_was_written_but_not_committed_does_not_count(folder: Path) -> None:
    with open_journal(folder) as journal:
        do(journal, [{"rows": b"committed"}])
        journal.write("rows", b" and not")
    assert growing(folder)["rows"] == b"committed"


def test_the_files_get_their_names_only_at_the_end(folder: Path) -> None:
    with open_journal(folder) as journal:
        do(journal, [{"rows": b"1", "names": b"a"}])
        assert not (folder / "rows").exists()
        journal.finish({"count": 1}, drop=("rows",))
    assert {path.name for path in folder.iterdir()} == {"names", "run.json"}


def test_a_finished_run_is_known_and_left_alone(folder: Path) -> None:
    with open_journal(folder) as journal:
        do(journal, [{"rows": b"1"}])
        journal.finish({"count": 1})
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with open_journal(folder) as again:
        assert again.note is not None
        assert again.note["count"] == 1
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("finish", [False, True])
def test_another_setting_is_refused_by_its_name(folder: Path, finish: bool) -> None:
    with open_journal(folder) as journal:
        do(journal, [{"rows": b"1"}])
        if finish:
            journal.finish({})
    other: dict[str, object] = {
        "extractor": "sscd",
        "settings": {"iterations": 20, "betas": (0.9, 0.99)},
    }
    with pytest.raises(InputError) as caught:
        open_journal(folder, other)
    left = folder / ("run.json" if finish else ".run.journal")
    assert str(caught.value) == (
        f"{folder}: holds results with iterations=10, this command has iterations=20; "
        f"give another output folder, or delete {left}"
    )


def test_a_run_that_stopped_before_its_first_step_leaves_nothing_in_the_way(folder: Path) -> None:
    with open_journal(folder) as journal:
        journal.write("rows", b"1")
    assert list(folder.iterdir()) == []
    with open_journal(folder, {"extractor": "another"}) as journal:
        do(journal, [{"rows": b"2"}])
        journal.finish({})
    assert (folder / "rows").read_bytes() == b"2"


def test_a_file_cut_behind_the_back_of_the_journal_is_told(folder: Path) -> None:
    with open_journal(folder) as journal:
        do(journal, [{"rows": b"12345"}])
    (folder / ".rows.partial").write_bytes(b"123")
    with pytest.raises(
        InputError, match=r"expected at least 5 bytes .* found 3; delete \S+journal"
    ):
        open_journal(folder)


def test_a_full_disk_is_told_and_loses_only_the_last_step(tiny_disk: Path) -> None:
    journal = open_journal(tiny_disk)
    do(journal, [{"rows": b"1" * 1000}])
    with pytest.raises(OutputError, match=r"^\S+: cannot be written \(No space left on device\)$"):
        do(journal, [{"rows": b"2" * 100_000}])
    journal.close()
    assert growing(tiny_disk)["rows"] == b"1" * 1000


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"^{tmp_path}/file/out: cannot be written"):
        open_journal(tmp_path / "file" / "out")


def test_a_run_that_another_release_left_unfinished_is_not_continued_by_half(
    tmp_path: Path,
) -> None:
    """It has no part of a file that has come to be written since."""
    with Journal(tmp_path, "run", {}, ("rows",)) as journal:
        journal.write("rows", b"1\n")
        journal.commit({})
    with pytest.raises(InputError, match=r"writes places, found one of another release"):
        Journal(tmp_path, "run", {}, ("rows", "places"))
    assert (tmp_path / ".rows.partial").read_bytes() == b"1\n"


def test_two_runs_of_one_command_do_not_write_in_one_folder(folder: Path) -> None:
    with open_journal(folder) as first:
        do(first, [{"rows": b"one"}])
        with pytest.raises(InputError, match="expected no other run here"):
            open_journal(folder)
        do(first, [{"rows": b"two"}])
        first.finish({})
    assert (folder / "rows").read_bytes() == b"onetwo"
    with open_journal(folder) as again:
        assert again.finished


def test_none_in_an_identity_is_a_missing_key(folder: Path) -> None:
    with open_journal(folder, {"extractor": "sscd", "seed": None}) as journal:
        do(journal, [{"rows": b"1"}])
        journal.finish({})
    assert (folder / "run.json").read_text() == '{\n  "extractor": "sscd"\n}\n'
    with open_journal(folder, {"extractor": "sscd", "seed": None}) as again:
        assert again.finished
    with pytest.raises(InputError, match="holds results with seed=None, this command has seed=3"):
        open_journal(folder, {"extractor": "sscd", "seed": 3})


def test_another_command_may_begin_where_one_was_killed_before_its_first_step(
    folder: Path,
) -> None:
    killed = open_journal(folder, {"seed": 1})
    killed.write("rows", b"lost")
    killed.close()
    assert begun_identity(folder, "run") is None
    with open_journal(folder, {"seed": 2}) as journal:
        do(journal, [{"rows": b"1"}])
        journal.finish({})
    assert (folder / "rows").read_bytes() == b"1"
    assert read_json(folder / "run.json") == {"seed": 2}
