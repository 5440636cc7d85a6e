"""Weights of named models, from a real server on this machine."""

import hashlib
import json
import random
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
import torch
from torch import nn

from activeindex.errors import InputError, OutputError
from activeindex.extractors import CARDS, load_extractor
from activeindex.extractors.cards import ModelCard
from activeindex.extractors.weights import cached_path, download, no_bar
from activeindex.running.progress import Silent
from tests.extractors.file_server import FileServer, serving

BODY = random.Random(0).randbytes(200_000)
NEW_BODY = random.Random(1).randbytes(150_000)


class Means(nn.Module):
    """The mean of each channel, times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.weight


def torchscript(folder: Path, weight: float) -> bytes:
    path = folder / f"{weight}.torchscript.pt"
    torch.jit.save(torch.jit.script(Means(weight)), str(path))
    return path.read_bytes()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(BODY)) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a user's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def tiny(
    server: FileServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelCard:
    """A named model whose weights the server has."""
    server.body = torchscript(tmp_path, 2.0)
    return named(monkeypatch, f"{server.address}/models/tiny.torchscript.pt")


def named(monkeypatch: pytest.MonkeyPatch, address: str) -> ModelCard:
    card = ModelCard("tiny", "means", 3, address, "MIT", input_size=32)
    monkeypatch.setitem(CARDS, card.name, card)
    return card


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# A named model from its first use on.


def test_a_named_model_is_downloaded_at_its_first_use_and_never_again(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    grey = torch.full((1, 3, 32, 32), 0.5)
    first = load_extractor("tiny")
    assert (first.dimension, first.identity.name) == (3, "tiny")
    assert first.identity.sha256 == hashlib.sha256(server.body).hexdigest()
    expected = [2 * (0.5 - m) / s for m, s in zip(tiny.mean, tiny.std, strict=True)]
    assert torch.allclose(first(grey), torch.tensor([expected]), atol=1e-5)
    again = load_extractor("tiny")
    assert torch.equal(again(grey), first(grey))
    assert [request["path"] for request in server.requests] == ["/models/tiny.torchscript.pt"]
    assert left_in(cache) == ["tiny.torchscript.pt", "tiny.torchscript.pt.json"]
    assert cached_path(tiny).read_bytes() == server.body


def test_a_file_that_changes_after_first_sight_is_refused_until_the_user_accepts_it(
    server: FileServer, tiny: ModelCard, tmp_path: Path
) -> None:
    first = load_extractor("tiny").identity.sha256
    cached_path(tiny).write_bytes(torchscript(tmp_path, 3.0))
    second = hashlib.sha256(cached_path(tiny).read_bytes()).hexdigest()
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            load_extractor("tiny")
        assert first in one_line(caught)
        assert second in one_line(caught)
    record = cached_path(tiny).with_name("tiny.torchscript.pt.json")
    assert str(record) in one_line(caught)
    record.unlink()
    assert load_extractor("tiny").identity.sha256 == second


def test_a_file_that_the_server_has_changed_is_refused_after_a_second_download(
    server: FileServer, tiny: ModelCard, tmp_path: Path
) -> None:
    first = load_extractor("tiny").identity.sha256
    cached_path(tiny).unlink()
    server.body = torchscript(tmp_path, 3.0)
    with pytest.raises(InputError, match=f"expected the SHA-256 {first}"):
        load_extractor("tiny")


def test_a_file_put_there_by_hand_needs_no_server(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    cache.mkdir(parents=True)
    cached_path(tiny).write_bytes(server.body)
    assert load_extractor("tiny").dimension == 3
    assert not server.requests
    recorded = json.loads((cache / "tiny.torchscript.pt.json").read_text())
    assert recorded["sha256"] == hashlib.sha256(server.body).hexdigest()


@pytest.mark.parametrize(
    "address", ["https://nowhere.invalid/models/tiny.torchscript.pt", "closed port"]
)
def test_offline_the_error_says_at_once_where_to_put_the_file_by_hand(
    address: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address == "closed port":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        address = f"http://127.0.0.1:{port}/tiny.torchscript.pt"
    card = named(monkeypatch, address)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_extractor("tiny")
    assert time.monotonic() - started < 5
    message = one_line(caught)
    assert message.startswith("tiny: its weights are not on this machine, and ")
    assert f"{address}: cannot be reached (" in message
    assert f"by hand: put {address} at {cached_path(card)} " in message
    assert left_in(cache) == []


def test_a_page_instead_of_the_weights_is_refused(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    page = b"<!DOCTYPE html><title>Log in to this network</title>"
    server.answer = lambda request: (200, {"Content-Type": "text/html"}, page)
    with pytest.raises(InputError, match=r"found text/html that begins with b'<!DOCTYPE html>"):
        load_extractor("tiny")
    assert left_in(cache) == []


def test_an_empty_answer_is_not_taken_for_the_weights(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    server.body = b""
    with pytest.raises(InputError, match=r"expected a file that begins with b'PK"):
        load_extractor("tiny")
    assert left_in(cache) == []


# Cut connections.


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
    bars: list[tuple[str, int | None, int]] = []
    counted: list[int] = []

    class Counter(Silent):
        def advance(self, items: int = 1, **shown: float | str) -> None:
            counted.append(items)

    @contextmanager
    def start_bar(title: str, total: int | None, done: int) -> Iterator[Silent]:
        bars.append((title, total, done))
        yield Counter()

    server.body, server.cuts = BODY * 20, [(1 << 20) + 1000]
    download(server.address, tmp_path / "file", start_bar=start_bar)
    assert bars == [("file", 4, 0), ("file", 4, 1)]
    assert sum(counted) == len(server.body) >> 20 == 3


# Where it may come from.


def test_a_redirect_on_the_way_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/old": "new files/ü"}
    download(f"{server.address}/old", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.requests[1]["path"] == "/new%20files/%FC"


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/file",
        "data:application/zip;base64,UEsDBA==",
        "http://192.0.2.1/file",
        "//192.0.2.1/file",
        "http://127.0.0.1@192.0.2.1/file",
        "http://127.0.0.1.nowhere.invalid/file",
        "http://0x7f000001/file",
        "https:///file",
        "http://127.0.0.1:number/file",
        "http://127.0.0.1:99999/file",
        "http://[::1/file",
        "https://" + "a" * 70 + "/file",
    ],
)
def test_a_hostile_redirect_is_refused(target: str, server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/": target}
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        download(server.address, tmp_path / "file")
    assert time.monotonic() - started < 5
    assert target in one_line(caught)
    assert len(server.requests) == 1
    assert left_in(tmp_path) == []


def test_redirects_in_a_circle_come_to_an_end(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/one": "/two", "/two": "/one"}
    with pytest.raises(InputError, match=r"/one: expected a file, found more than 5 redirects$"):
        download(f"{server.address}/one", tmp_path / "file")
    assert len(server.requests) == 6


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine, with its key."""
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    options = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", str(path)]
    try:
        subprocess.run(
            ["openssl", *options.split(), *subject, *files], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("an https server needs openssl for its certificate")
    return path


def test_https_is_not_left_for_http_on_the_way(
    certificate: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FileServer(NEW_BODY), certificate) as secure:
        with pytest.raises(InputError, match=r"cannot be reached \(.*self.signed certificate"):
            download(secure.address, tmp_path / "file")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure.redirects = {"/": f"{server.address}/file"}
        with pytest.raises(InputError, match=f"redirects to {server.address}/file, which is ref"):
            download(secure.address, tmp_path / "file")
        assert not server.requests
        assert left_in(tmp_path) == []
        server.redirects = {"/": f"{secure.address}/file"}
        download(server.address, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == NEW_BODY


@pytest.mark.parametrize(
    "address", ["http://example.org/file", "ftp://example.org/file", "/etc/passwd", "https://ü.de"]
)
def test_only_https_is_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{address}: expected an https address, found "):
        download(address, tmp_path / "file")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_answer_that_is_no_file_is_refused_with_its_status(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    server.answer = lambda request: (status, {}, BODY)
    with pytest.raises(InputError, match=f"expected a file, found status {status}$"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(("framing", "found"), [("length", "200,000"), ("chunked", "more")])
def test_more_than_the_most_bytes_is_refused(
    framing: str, found: str, server: FileServer, tmp_path: Path
) -> None:
    server.framing = framing
    with pytest.raises(InputError, match=f"expected at most 199,999 bytes, found {found}$"):
        download(server.address, tmp_path / "file", max_bytes=199_999)
    assert left_in(tmp_path) == []
    download(server.address, tmp_path / "file", max_bytes=200_000)


def test_a_full_disk_is_an_error_with_its_reason(server: FileServer, tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"file: cannot be written \(No space left on device\)$"):
        download(server.address, tiny_disk / "file")
    assert not (tiny_disk / "file").exists()


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
    download(server.address, path, start_bar=no_bar)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={2 << 16}-"]
