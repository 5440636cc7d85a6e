"""Downloads from a real server of this machine, whose connections are cut."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from activeindex.errors import InputError
from activeindex.extractors.weights import download
from activeindex.runtime.reporting import Progress, Reporter
from tests.extractors.file_server import (
    BODY,
    NEW_BODY,
    FileServer,
    archive,
    left_in,
    one_line,
)


def test_a_cut_connection_is_an_error_and_the_next_call_starts_over(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [70_000]
    path = tmp_path / "file"
    with pytest.raises(InputError) as caught:
        download(server.address, path)
    assert one_line(caught) == (
        f"{server.address}: the connection was cut after 70,000 of 200,000 bytes"
    )
    assert left_in(tmp_path) == []
    server.body = NEW_BODY
    download(server.address, path)
    assert path.read_bytes() == NEW_BODY
    assert left_in(tmp_path) == ["file"]


def test_chunks_are_put_together_and_a_cut_between_them_is_noticed(
    server: FileServer, tmp_path: Path
) -> None:
    server.framing, server.cuts = "chunked", [100_000]
    with pytest.raises(InputError, match=r"the connection was cut \(IncompleteRead"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_an_answer_whose_end_cannot_be_told_from_a_cut_is_refused(
    server: FileServer, tmp_path: Path
) -> None:
    server.framing = "none"
    with pytest.raises(InputError, match=r"found one of unknown length$"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []


def test_half_an_archive_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.body = BODY[:100_000]
    with pytest.raises(InputError, match=r"expected a TorchScript file, a zip archive, found tex"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []


def test_a_server_that_falls_silent_is_not_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.stalls = [70_000]
    started = time.monotonic()
    with pytest.raises(InputError, match=r"the connection was cut \(timed out\)$"):
        download(server.address, tmp_path / "file", timeout=0.3)
    assert time.monotonic() - started < 5
    assert left_in(tmp_path) == []


def test_a_server_that_never_answers_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # It is never accepted.
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/file"
        with pytest.raises(InputError, match=r"/file: cannot be reached \(timed out\)$"):
            download(address, tmp_path / "file", timeout=0.1)
    assert left_in(tmp_path) == []


def test_the_bar_counts_mebibytes(server: FileServer, tmp_path: Path) -> None:
    bars: list[tuple[str, int | None, int, str]] = []
    counted: list[int] = []

    class Counter(Progress):
        def advance(self, items: int = 1, **figures: float) -> None:
            counted.append(items)

    class Recorder(Reporter):
        @contextmanager
        def stage(
            self, title: str, total: int | None = None, done: int = 0, unit: str = "image"
        ) -> Iterator[Progress]:
            bars.append((title, total, done, unit))
            yield Counter()

    server.body = archive(2, 4_000_000)
    download(server.address, tmp_path / "file", reporter=Recorder())
    assert bars == [("file", 4, 0, "MiB")]
    assert sum(counted) == 4


# Two programs at once, and one that is killed.


def test_a_second_program_neither_joins_in_nor_disturbs(server: FileServer, tmp_path: Path) -> None:
    server.stalls = [0]
    path = tmp_path / "file"
    first = threading.Thread(target=download, args=(server.address, path))
    first.start()
    assert server.stalled.wait(10)
    with pytest.raises(InputError, match=r"/file: another program is downloading it; wait for"):
        download(server.address, path)
    server.go_on.set()
    first.join(10)
    assert path.read_bytes() == BODY
    assert len(server.requests) == 1
    assert left_in(tmp_path) == ["file"]


def test_a_program_that_finds_the_file_finished_by_another_takes_it(
    server: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(NEW_BODY)
    download(server.address, path)
    assert path.read_bytes() == NEW_BODY
    assert not server.requests
    assert left_in(tmp_path) == ["file"]


def test_nothing_of_a_killed_program_is_taken_for_the_file(
    server: FileServer, tmp_path: Path
) -> None:
    server.body, server.stalls = archive(2, 4_000_000), [3_000_000]
    path = tmp_path / "file"
    program = (
        "import sys; from pathlib import Path; from activeindex.extractors.weights import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    other = subprocess.Popen([sys.executable, "-c", program, server.address, str(path)])
    try:
        assert server.stalled.wait(60)
        deadline = time.monotonic() + 60
        while not any(it.stat().st_size > 1 << 20 for it in tmp_path.glob(".*.partial*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(InputError, match="another program is downloading it"):
            download(server.address, path)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    assert not path.exists()
    server.go_on.set()
    download(server.address, path)
    assert path.read_bytes() == server.body
