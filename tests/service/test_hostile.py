"""Uploads and requests that are made to harm: each gets a 4xx, others are answered meanwhile."""

import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.service.conftest import Server, new_key, picture

LONG = os.environ.get("ACTIVEINDEX_LONG") == "1"
COUNT = 500 if LONG else 30
FORM = "multipart/form-data"


def bomb(width: int, height: int) -> bytes:
    """A small PNG file of very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(width * height, 1 << 22)))
    ends = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + ends


def uploads(count: int) -> Iterator[tuple[str, bytes]]:
    good, random = picture(30), np.random.default_rng(0)
    jpeg = picture(31, form="JPEG")
    yield from (
        ("empty.png", b""),
        ("text.png", b"not a picture"),
        ("bomb.png", bomb(60_000, 60_000)),
    )
    yield from (("wide.png", bomb(2**31 - 1, 1)), ("cut.png", good[: len(good) // 2]))
    yield from (("zip.png", b"PK\x03\x04" + good), ("page.jpg", b"<html><script>" + jpeg))
    yield ("pickle.pt", b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    yield ("svg.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    yield ("eps.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    for number in range(count):
        data = bytearray(jpeg if number % 2 else good)
        at = int(random.integers(0, 64))
        match number % 3:
            case 0:
                del data[at + 16 :]
            case 1:
                data[:at] = random.bytes(at)
                data[:2] = b"\0\0"
            case _:
                data[8:40] = random.bytes(32)
                data[:1] = b"\1"
        yield f"{number}.png", bytes(data)


def resident(server: Server) -> int:
    """Resident bytes of the server process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return new_key(server.store)


def test_hostile_uploads_are_refused_and_others_are_answered(server: Server, key: str) -> None:
    with server.client(key) as client:
        assert client.post("/v1/search", files={"file": picture(0)}).status_code == 200
        before = resident(server)
        for number, (name, data) in enumerate(uploads(COUNT)):
            route = "/v1/search" if number % 2 else "/v1/images"
            answer = client.post(route, files={"file": (name, data)})
            assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text)
            assert str(server.store) not in answer.text
        assert client.post("/v1/search", files={"file": picture(0)}).status_code == 200
        assert resident(server) - before < 200 << 20
        assert client.get("/v1/images").json()["images"] == []
    assert not list((server.store / "service" / "uploads").iterdir())


def test_too_large_a_body_is_refused_before_it_is_kept(server: Server, key: str) -> None:
    with server.client(key) as client:
        declared = client.post("/v1/search", files={"file": bytes(21_000_000)})
        assert declared.status_code == 413

        def parts() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(30):
                yield bytes(1_000_000)

        chunked = {"Content-Type": "multipart/form-data; boundary=x"}
        try:
            streamed = client.post("/v1/search", content=parts(), headers=chunked).status_code
        except httpx.TransportError:  # The server may close before all is sent.
            streamed = 413
        assert streamed == 413


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a\r\nSet-Cookie: x",
        "\x1b[31mred",
        "..",
        "a" * 3000,
        "'; DROP TABLE jobs",
        "",
    ],
)
def test_names_of_files_reach_neither_folders_nor_logs_raw(
    server: Server, key: str, name: str
) -> None:
    with server.client(key) as client:
        answer = client.post("/v1/search", files={"file": (name, picture(0))})
        assert answer.status_code in (200, 400, 422), answer.text
        if answer.status_code == 200:
            shown = answer.json()["query"]
            assert "/" not in shown
            assert shown.isprintable()
            assert len(shown) <= 255
    log = (server.store.parent / "log").read_text()
    assert "\x1b" not in log
    assert all(line.startswith("{") for line in log.splitlines())


def test_headers_and_slow_clients_end_early(server: Server, key: str) -> None:
    with server.client(key) as client:
        try:
            huge = client.get("/livez", headers={"X-Fill": "a" * 100_000}).status_code
        except httpx.TransportError:
            huge = 400
        assert 400 <= huge < 500
        odd = client.get("/livez", headers={"X-Request-Id": "a b\t<script>"})
        assert odd.headers["x-request-id"].isalnum()
        assert (
            client.get("/livez", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"]
            == "mine-1"
        )
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            + f"Authorization: Bearer {key}\r\n\r\n--x".encode()
        )
        start = time.monotonic()
        with server.client(key) as client:  # Others do not wait for it.
            assert client.post("/v1/search", files={"file": picture(0)}).status_code == 200
        assert time.monotonic() - start < 25
        if LONG:
            slow.settimeout(60)
            assert b"408" in slow.recv(1000)


def test_malformed_requests_are_problems_not_errors(server: Server, key: str) -> None:
    with server.client(key) as client:
        cases = [
            client.post(
                "/v1/search", content=b"junk", headers={"Content-Type": "multipart/form-data"}
            ),
            client.post("/v1/search", json={"file": "x"}),
            client.post("/v1/search", data={"id": 0, "k": 0}),
            client.post("/v1/search", data={"id": 2**70}),
            client.post("/v1/search", data={"id": 0, "filters": "[" * 5000}),
            client.post("/v1/search", data={"id": 0, "filters": '[{"column":"id OR 1=1"}]'}),
            client.get("/v1/images", params={"cursor": "x", "limit": 10**9}),
            client.get("/v1/images/999999999999999999999999"),
            client.get("/v1/images/..%2f..%2fstore.json"),
            client.get("/v1/jobs/..%2f..%2fetc"),
            client.patch("/v1/images/0", content=b'{"metadata": NaN}'),
            client.post("/v1/images", files={"file": picture(0)}, data={"metadata": "[1]"}),
            client.post("/v1/images", files={"file": picture(0)}, data={"preset": "none"}),
            client.put("/v1/images/0"),
            client.get("/nowhere"),
        ]
        for case in cases:
            assert 400 <= case.status_code < 500, (case.request.url, case.status_code, case.text)
            assert case.headers["content-type"] == "application/problem+json"
            assert case.json()["status"] == case.status_code
        assert client.get("/readyz").json()["ready"]
