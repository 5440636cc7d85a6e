"""What the commands say of files that they do not take for images, and to whom they say it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.collection import SIZE, Prepared
from tests.cli.conftest import Answer

Say = Callable[..., Answer]


def test_files_without_the_name_of_an_image_are_told(
    prepared: Prepared, tmp_path: Path, say: Say
) -> None:
    shutil.copytree(prepared.images, tmp_path / "in")
    for name in ("a.heic", "b", "sub/c.jxl", "z.txt", ".hidden"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    size = ("--resize_size", SIZE)
    answer = say("extract_fts", "--data_dir", "in", "--output_dir", "fts", *size)
    told = "4 files without the name of an image left out: a.heic, b, sub/c.jxl …\n"
    assert (answer.code, answer.err) == (0, "")
    assert told in answer.out
    answer = say("extract_fts", "--data_dir", prepared.images, "--output_dir", "all", *size)
    assert "left out" not in answer.out


def test_what_is_no_file_is_skipped_and_told_and_nothing_failed(
    prepared: Prepared, tmp_path: Path, say: Say
) -> None:
    shutil.copytree(prepared.images, tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    options = ("--data_dir", "in", "--resize_size", SIZE, "--unreadable", "skip")
    answer = say("extract_fts", "--output_dir", "1", *options)
    assert (answer.code, answer.err) == (0, "")
    for name, kind in (("loop.png", "Too many levels of symbolic links"), ("pipe.jpg", "a named")):
        assert f"skipped in/{name}: the image cannot be decoded ({kind}" in answer.out
    (tmp_path / "in" / "broken.png").write_bytes(b"x")
    answer = say("extract_fts", "--output_dir", "2", *options)
    assert answer.code == 1
    assert answer.err.endswith("skipped: in/broken.png: expected an image, found another format\n")


def test_a_reader_who_has_seen_enough_ends_a_command_in_silence(runs: Path) -> None:
    arms = [str(runs / "passive"), str(runs / "active")]
    command = [sys.executable, "-m", "activeindex", "compare", *arms]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_without_a_standard_output_commands_work(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m activeindex models >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_ctrl_c_while_workers_start_is_one_line(
    prepared: Prepared, tmp_path: Path, seconds: float
) -> None:
    train = str(prepared.root / "disc" / "train")
    options = ["--data_dir", train, "--output_dir", str(tmp_path / "fts")]
    command = [sys.executable, "-m", "activeindex.extract_fts", *options, "--workers", "2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background ignores it, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # How many images there are: workers are started next.
        time.sleep(seconds)
        # As a terminal does: to all processes of the command.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1].endswith("interrupted; the same command goes on where it was")
    assert not any("Traceback" in line for line in lines)


def test_without_a_standard_error_commands_work(prepared: Prepared, tmp_path: Path) -> None:
    options = f"--data_dir {prepared.images} --output_dir fts --resize_size {SIZE} --workers 2"
    command = f"exec {sys.executable} -m activeindex extract_fts {options} <&- 2>&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "fts" / "fts.pt").stat().st_size > 0


def test_debug_shows_the_traceback_and_keeps_the_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "activeindex", "table", "no\x1b[2Jne", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert "no\\x1b[2Jne: expected a folder, found nothing" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["actvate"], "activate"),
        (["activate", "a", "b", "--index", "c", "--itertions", "3"], "--iterations"),
        (["store", "ad", "x"], "add"),
        (["store", "add", "x", "y", "--activaton", "z"], "--activation"),
        (["models", "--jsn"], "--json"),
    ],
)
def test_mistyped_commands_and_options_get_a_suggestion(
    say: Say, arguments: list[str], suggested: str
) -> None:
    answer = say(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert f"; did you mean {suggested}?; see activeindex" in answer.err
    assert answer.err.count("\n") == 1


def test_ctrl_c_while_a_module_is_imported_is_one_line_whatever_the_module_makes_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "except BaseException:\n    pass\n"
    )
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-m", "activeindex", "activate", "in", "out", "--index", "x"]
    done = subprocess.run(
        [*command, "--loss_f", "mine:loss"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    line = "activeindex activate: interrupted; the same command goes on where it was"
    assert (done.returncode, done.stderr.strip()) == (130, line)


def test_a_full_standard_output_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "activeindex", "models"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "activeindex models: error: No space left on device\n"
