import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from activeindex.runtime.reporting import ConsoleReporter, Reporter

SHOW = """
import time
from activeindex.runtime.reporting import ConsoleReporter

with ConsoleReporter().stage("features", total=5, done=1) as bar:
    for _ in range(4):
        time.sleep(0.15)
        bar.advance(1, loss=0.25)
"""


def test_a_log_file_gets_no_bar() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True)
    assert shown.stderr == b""
    assert shown.stdout.splitlines() == [
        b"features: begun, 1 of 5",
        b"features: ended, 5 of 5, 1 s, loss 0.25",
    ]


def test_a_log_gets_lines_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with ConsoleReporter(clock=lambda: now).stage("activate", total=9, done=1) as lines:
        for now in (20.0, 70.0, 80.0, 90.0):  # noqa: B007 (the clock reads it)
            lines.advance(2, loss=-0.91234)
    assert capsys.readouterr().out.splitlines() == [
        "activate: begun, 1 of 9",
        "activate: going on, 5 of 9, 70 s, loss -0.912",
        "activate: ended, 9 of 9, 90 s, loss -0.912",
    ]


def test_a_log_is_not_told_that_what_is_done_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with ConsoleReporter(clock=lambda: now).stage("index", total=1) as lines:
        now = 70.0
        lines.advance()
    with ConsoleReporter().stage("active run", total=1, done=1):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "index: begun, 0 of 1",
        "index: ended, 1 of 1, 70 s",
        "active run: done before, 1 of 1",
    ]


def test_a_stage_that_fails_is_not_said_to_have_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(OSError), ConsoleReporter().stage("links"):
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
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).split("\r")
    assert any(line.startswith("features:  20%") and "1/5" in line for line in lines)
    assert any("image/s" in line and "loss=0.25" in line for line in lines)
    assert any("5/5" in line for line in lines)


def test_the_default_reporter_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="activeindex"):
        with Reporter().stage("features", total=2) as progress:
            progress.advance(2)
        Reporter().line("done")
    assert caplog.messages == ["features: begun, 0 of 2", "features: ended, 2 of 2, 0 s", "done"]


def test_events_go_to_every_listener() -> None:
    heard: list[object] = []
    Reporter((heard.append, heard.append)).event("a step")
    assert heard == ["a step", "a step"]
