import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from activeindex.runtime.progress import in_lines

SHOW = """
import time
from activeindex.runtime.progress import Bar

with Bar("features", total=5, done=1) as bar:
    for _ in range(4):
        time.sleep(0.15)
        bar.advance(1, loss=0.25)
"""


def test_a_log_file_gets_no_bar() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True)
    assert shown.stderr == shown.stdout == b""


def test_a_log_gets_lines_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with in_lines("activate", total=9, done=1, clock=lambda: now) as lines:
        for now in (20.0, 70.0, 80.0, 90.0):  # noqa: B007 (the clock reads it)
            lines.advance(2, loss=-0.91234)
    assert capsys.readouterr().out.splitlines() == [
        "activate: begun, 1 of 9",
        "activate: going on, 5 of 9, 70 s, loss -0.912",
        "activate: ended, 9 of 9, 90 s, loss -0.912",
    ]


def test_a_log_is_not_told_that_what_is_done_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with in_lines("index", total=1, clock=lambda: now) as lines:
        now = 70.0
        lines.advance()
    with in_lines("active run", total=1, done=1):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "index: begun, 0 of 1",
        "index: ended, 1 of 1, 70 s",
        "active run: done before, 1 of 1",
    ]


def test_a_stage_that_fails_is_not_said_to_have_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(OSError), in_lines("links", total=None):
        raise OSError
    assert capsys.readouterr().out == "links: begun\n"


@pytest.mark.parametrize("size", [(24, 100), (0, 0)], ids=["24 x 100", "size unknown"])
def test_a_terminal_gets_the_count_the_rate_and_the_time_left(size: tuple[int, int]) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", SHOW], stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal without a program behind it ends
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    lines = shown.decode().split("\r")
    assert any(line.startswith("features:  20%") and "1/5" in line for line in lines)
    assert any("image/s" in line and "loss=0.25" in line for line in lines)
    assert any("5/5" in line for line in lines)
