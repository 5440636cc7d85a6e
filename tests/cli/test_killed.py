"""Killed at any moment and started again, a command ends with the files of an undisturbed run."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.cli.collection import (
    SIZE,
    Prepared,
    command,
    contents,
    environment,
    python,
)

_PATIENCE = 240.0
"""Seconds after which a command that does not get on is given up."""


def main_command(prepared: Prepared) -> list[str]:
    """Image by image, so that there are many moments between two commits."""
    options = prepared.main_options(batch_size=1, batch_size_eval=4)
    return ["-m", "activeindex.main", *options]


def commits(journal: Path) -> int:
    """The finished steps that a journal names; its first line is the command's identity."""
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


def survivors(group: int) -> list[str]:
    """The processes of a group, once they have had a minute to go."""
    deadline = time.monotonic() + 60
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state != "Z":
                    found.append(path.parent.name)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def stop_after(
    arguments: list[str],
    cwd: Path,
    journal: Path,
    steps: int,
    delay: float,
    how: signal.Signals,
    left: list[str] | None = None,
) -> tuple[int, str]:
    """Starts a command, waits for a commit and a moment more, stops it; exit code and stderr.

    The processes that are still there some seconds later are noted in ``left``.
    """
    # A file, not a pipe: worker processes that outlive the command would keep a pipe open.
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
            # A shell's background jobs, this test perhaps among them, ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while commits(journal) < steps and process.poll() is None:
                assert time.monotonic() < deadline, f"no {steps} steps in {journal}"
                time.sleep(0.002)
            time.sleep(delay)
            process.send_signal(how)
            code = process.wait(_PATIENCE)
            if left is not None:
                left.extend(survivors(process.pid))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return code, said.read()


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    python(*main_command(prepared), cwd=root)
    return root


@pytest.fixture(scope="module")
def interrupted(
    prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[int, str]]:
    """Killed in the first image, in a later one and among the other queries; then Ctrl-C."""
    root = tmp_path_factory.mktemp("interrupted")
    generator = random.Random(0)
    journal = root / "out" / ".run.journal"
    arguments = main_command(prepared)
    for steps in (0, 2):
        delay = generator.uniform(0, 0.2)
        code, _ = stop_after(arguments, root, journal, steps, delay, signal.SIGKILL)
        assert code == -signal.SIGKILL
    said = stop_after(arguments, root, journal, 3, 0.0, signal.SIGINT)
    python(*arguments, cwd=root)
    return root, said


def test_killed_run_ends_with_the_files_of_an_undisturbed_one(
    undisturbed: Path, interrupted: tuple[Path, tuple[int, str]]
) -> None:
    there, expected = contents(interrupted[0]), contents(undisturbed)
    times = there.pop("out/times.jsonl"), expected.pop("out/times.jsonl")
    starts = [lines.count(b'"start"') for lines in times]
    # A kill may come before a start has been noted.
    assert 1 <= starts[0] <= 4
    assert starts[1] == 1
    assert sorted(there) == sorted(expected)
    assert [name for name in expected if there[name] != expected[name]] == []


def test_nothing_of_the_kills_is_left(interrupted: tuple[Path, tuple[int, str]]) -> None:
    assert [path for path in interrupted[0].rglob(".*") if path.is_file()] == []


def test_control_c_says_how_to_go_on(interrupted: tuple[Path, tuple[int, str]]) -> None:
    code, text = interrupted[1]
    assert code == 130
    assert text.strip().splitlines() == [
        "python -m activeindex.main: interrupted; the same command goes on where it was"
    ]


def test_finished_command_shows_its_tables_again_and_changes_nothing(
    prepared: Prepared, undisturbed: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    again = python(*main_command(prepared), cwd=undisturbed).stdout
    assert "| avg " in again
    assert "PSNR" in again
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before


def test_other_settings_are_refused_in_the_same_folder(
    prepared: Prepared, undisturbed: Path
) -> None:
    before = contents(undisturbed)
    for option, found in (("--kneighbors", "k=5"), ("--iterations", "3")):
        done = python(
            *main_command(prepared),
            *(option, "5" if found == "k=5" else found),
            cwd=undisturbed,
            expected=2,
        )
        assert len(done.stderr.splitlines()) == 1
        assert f"{option[2:]}=" in done.stderr
        assert "output folder" in done.stderr
    assert contents(undisturbed) == before


def extraction(prepared: Prepared, workers: int) -> list[str]:
    return [
        *("-m", "activeindex.extract_fts", "--data_dir", str(prepared.root / "disc" / "train")),
        *("--output_dir", "fts", "--resize_size", str(SIZE), "--workers", str(workers)),
        *("--batch_size", "16"),
    ]


@pytest.fixture(scope="module")
def extracted(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("extracted")
    python(*extraction(prepared, 0), cwd=root)
    return root / "fts"


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_extraction_ends_with_the_files_of_an_undisturbed_one(
    prepared: Prepared, extracted: Path, tmp_path: Path, workers: int
) -> None:
    arguments = extraction(prepared, workers)
    generator = random.Random(workers)
    journal = tmp_path / "fts" / ".fts.journal"
    for steps in (2, 9) if workers == 0 else (5,):
        delay = generator.uniform(0, 0.1)
        code, _ = stop_after(arguments, tmp_path, journal, steps, delay, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert commits(journal) >= steps
    python(*arguments, cwd=tmp_path)
    assert contents(tmp_path / "fts") == contents(extracted)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process list of Linux")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_command_leaves_no_process_behind(
    prepared: Prepared, tmp_path: Path, how: signal.Signals
) -> None:
    left: list[str] = []
    journal = tmp_path / "fts" / ".fts.journal"
    code, said = stop_after(extraction(prepared, 2), tmp_path, journal, 2, 0.0, how, left)
    assert left == []
    if how == signal.SIGTERM:
        assert code == 143
        assert said.strip().splitlines() == [
            "python -m activeindex.extract_fts: interrupted; the same command goes on where it was"
        ]
