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
from tests.extractors.file_server import BODY, NEW_BODY, FileServer, left_in, one_line


def test_a_cut_connection_is_taken_up_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [70_000, 30_000]
    download(server.address, tmp_path / "file", magic=BODY[:4])
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None, "bytes=70000-", "bytes=100000-"]
    assert [request.get("If-Range") for request in server.requests] == [None, '"one"', '"one"']
    assert left_in(tmp_path) == ["file"]


def test_the_date_of_the_last_change_stands_in_for_a_missing_etag(
    server: FileServer, tmp_path: Path
) -> None:
    date = "Tue, 01 Mar 2022 10:00:00 GMT"
    server.validators, server.cuts = {"ETag": 'W/"weak"', "Last-Modified": date}, [70_000]
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.requests[1]["If-Range"] == date
    assert server.ranges == [None, "bytes=70000-"]


def test_a_connection_cut_too_often_is_an_error_and_the_next_call_goes_on(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [50_000, 40_000, 30_000]
    path = tmp_path / "file"
    with pytest.raises(InputError) as caught:
        download(server.address, path)
    assert one_line(caught) == (
        f"{server.address}: the connection was cut 3 times (after 120,000 of 200,000 bytes); "
        "the same command goes on where it was"
    )
    assert not path.exists()
    download(server.address, path)
    assert path.read_bytes() == BODY
    assert server.ranges[3:] == ["bytes=120000-"]


def test_a_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.takes_ranges, server.cuts = False, [70_000]
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None, "bytes=70000-"]


def test_without_anything_to_tell_versions_apart_it_starts_over(
    server: FileServer, tmp_path: Path
) -> None:
    server.validators, server.cuts = {}, [70_000]
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None, None]


@pytest.mark.parametrize("minds_if_range", [True, False])
def test_a_file_that_changed_on_the_server_meanwhile_is_fetched_anew(
    minds_if_range: bool, server: FileServer, tmp_path: Path
) -> None:
    server.cuts, server.minds_if_range = [70_000], minds_if_range
    with pytest.raises(InputError, match="cut 1 times"):
        download(server.address, tmp_path / "file", attempts=1)
    server.body, server.validators = NEW_BODY, {"ETag": '"two"'}
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == NEW_BODY


def test_what_came_from_another_address_is_not_gone_on_with(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [70_000]
    with pytest.raises(InputError, match="cut 1 times"):
        download(f"{server.address}/first", tmp_path / "file", attempts=1)
    server.body = NEW_BODY
    download(f"{server.address}/second", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == NEW_BODY


def test_a_shorter_file_on_the_server_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [70_000]
    with pytest.raises(InputError, match="cut 1 times"):
        download(server.address, tmp_path / "file", attempts=1)
    server.body = NEW_BODY[:50_000]
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == NEW_BODY[:50_000]
    assert server.ranges == [None, "bytes=70000-", None]


def test_a_server_that_sends_the_rest_in_pieces_is_asked_until_it_is_whole(
    server: FileServer, tmp_path: Path
) -> None:
    def piece(request: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        first = int(request.get("Range", "bytes=0-")[6:-1])
        last = min(first + 80_000, len(BODY)) - 1
        part = {"Content-Range": f"bytes {first}-{last}/{len(BODY)}"}
        return 206, part | server.validators, BODY[first : last + 1]

    server.cuts = [70_000]
    with pytest.raises(InputError, match="cut 1 times"):
        download(server.address, tmp_path / "file", attempts=1)
    server.answer = piece
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    "said", ["bytes 60000-199999/200000", "bytes 70000-199999/*", "all of it", ""]
)
def test_a_part_other_than_the_one_asked_for_never_ends_up_in_the_file(
    said: str, server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [70_000]
    with pytest.raises(InputError, match="cut 1 times"):
        download(server.address, tmp_path / "file", attempts=1)
    server.answer = lambda request: (
        (206, {"Content-Range": said}, BODY[60_000:]) if "Range" in request else (200, {}, BODY)
    )
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_chunks_are_put_together_and_a_cut_between_them_is_noticed(
    server: FileServer, tmp_path: Path
) -> None:
    server.framing, server.cuts = "chunked", [100_000]
    download(server.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.requests) == 2


def test_an_answer_whose_end_cannot_be_told_from_a_cut_is_refused(
    server: FileServer, tmp_path: Path
) -> None:
    server.framing = "none"
    with pytest.raises(InputError, match=r"found one of unknown length$"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []


def test_a_server_that_falls_silent_is_not_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.stalls = [70_000]
    started = time.monotonic()
    download(server.address, tmp_path / "file", timeout=0.3)
    assert time.monotonic() - started < 5
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_server_that_never_answers_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # It is never accepted.
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/file"
        with pytest.raises(InputError, match=r"cut 2 times \(timed out\)"):
            download(address, tmp_path / "file", attempts=2, timeout=0.1)
    assert left_in(tmp_path) == []


def test_the_bar_counts_mebibytes_and_goes_on_where_the_file_does(
    server: FileServer, tmp_path: Path
) -> None:
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

    server.body, server.cuts = BODY * 20, [(1 << 20) + 1000]
    download(server.address, tmp_path / "file", reporter=Recorder())
    assert bars == [("file", 4, 0, "MiB"), ("file", 4, 1, "MiB")]
    assert sum(counted) == len(server.body) >> 20 == 3


# Two programs at once, and one that is killed.


def test_a_second_program_neither_joins_in_nor_disturbs(server: FileServer, tmp_path: Path) -> None:
    server.stalls = [0]
    path = tmp_path / "file"
    first = threading.Thread(target=download, args=(server.address, path))
    first.start()
    assert server.stalled.wait(10)
    with pytest.raises(InputError, match=r"file.partial: another program is downloading it; wait"):
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


def test_what_a_killed_program_had_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.stalls = [140_000]
    path = tmp_path / "file"
    program = (
        "import sys; from pathlib import Path; from activeindex.extractors.weights import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    other = subprocess.Popen([sys.executable, "-c", program, server.address, str(path)])
    try:
        assert server.stalled.wait(60)
        partial = path.with_name("file.partial")
        while partial.stat().st_size < 2 << 16:
            time.sleep(0.01)
        with pytest.raises(InputError, match="another program is downloading it"):
            download(server.address, path)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    assert not path.exists()
    server.go_on.set()
    download(server.address, path)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={2 << 16}-"]
