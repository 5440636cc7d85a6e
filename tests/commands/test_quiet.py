"""What commands print while they work, and where they are silent."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

from tests.commands.collection import (
    SIZE,
    Prepared,
    command,
    environment,
    python,
)
from tests.commands.conftest import Answer


def extraction(folder: Path) -> list[str]:
    return [
        *("-m", "activeindex.extract_fts", "--data_dir", str(folder), "--output_dir", "fts"),
        *("--resize_size", str(SIZE), "--workers", "0", "--batch_size", "8"),
    ]


def seen_on_a_terminal(arguments: list[str], cwd: Path) -> str:
    """What appears when standard error is a terminal."""
    terminal, side = pty.openpty()
    termios.tcsetwinsize(side, (40, 100))
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=side
    )
    os.close(side)
    text = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:  # How Linux says that the other side is closed.
            break
        if not read:
            break
        text += read
    os.close(terminal)
    assert process.wait(120) == 0
    return text.decode()


def test_terminal_shows_a_bar_with_rate_and_time_left(prepared: Prepared, tmp_path: Path) -> None:
    text = seen_on_a_terminal(extraction(prepared.root / "disc" / "references"), tmp_path)
    assert "features" in text
    assert re.search(r"\d+/40 \[\d+:\d+<\d+:\d+, +[\d.]+ image/s", text), text


def test_verbose_0_says_nothing_even_on_a_terminal(prepared: Prepared, tmp_path: Path) -> None:
    text = seen_on_a_terminal([*extraction(prepared.images), "--verbose", "0"], tmp_path)
    assert text == ""


def test_pipe_gets_lines_and_no_bar(prepared: Prepared, tmp_path: Path) -> None:
    done = python(*extraction(prepared.images), cwd=tmp_path)
    assert done.stderr == ""
    assert "\r" not in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_verbose_0_prints_nothing(prepared: Prepared, say: Callable[..., Answer]) -> None:
    options = prepared.main_options(active=False, save_imgs=False, eval_icd=False, verbose=0)
    answer = say("main", *options)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
