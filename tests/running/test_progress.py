import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

SHOW = """
import time
from activeindex.running.progress import Bar

with Bar("features", total=5, done=1) as bar:
    for _ in range(4):
        time.sleep(0.15)
        bar.advance(1, loss=0.25)
"""


def test_a_log_file_gets_no_progress() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True)
    assert shown.stderr == shown.stdout == b""


def test_a_terminal_gets_the_count_the_rate_and_the_time_left() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
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
