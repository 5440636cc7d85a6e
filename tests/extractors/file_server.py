"""A real HTTP server of one file that can cut connections, redirect, stall and lie."""

import contextlib
import io
import random
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


def archive(seed: int, size: int) -> bytes:
    """A zip archive of ``size`` bytes, 100 of which are the archive's own."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("x", random.Random(seed).randbytes(size - 100))
    return content.getvalue()


BODY, NEW_BODY = archive(0, 200_000), archive(1, 150_000)


@dataclass
class FileServer:
    """What the server serves, how it behaves, and what it was asked.

    Attributes:
        body: The file.
        cuts: For each of the next requests, the bytes after which the connection is closed.
        stalls: Likewise, the bytes after which nothing comes until :attr:`go_on` is set.
        framing: Says how long the answer is: by ``length``, ``chunked``, or not at all (``none``).
        redirects: Where paths redirect to.
        answer: A status, headers and body to answer with instead, given the request's headers.
        requests: The headers of the requests that came, with the path as ``path``.
    """

    body: bytes
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    framing: str = "length"
    redirects: dict[str, str] = field(default_factory=dict)
    answer: Callable[[dict[str, str]], tuple[int, dict[str, str], bytes]] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def respond(self, request: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if self.answer is not None:
            return self.answer(request)
        target = self.redirects.get(request["path"])
        if target is not None:
            return 302, {"Location": target}, b""
        return 200, {}, self.body


@contextlib.contextmanager
def serving(server: FileServer, certificate: Path | None = None) -> Iterator[FileServer]:
    """Runs the server on a free port of this machine, with https where it gets a certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            request = dict(self.headers.items()) | {"path": self.path}
            server.requests.append(request)
            status, headers, body = server.respond(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if server.framing == "length":
                self.send_header("Content-Length", str(len(body)))
            elif server.framing == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):  # The other side may have had enough.
                self.send_body(body)
            self.close_connection = True

        def send_body(self, body: bytes) -> None:
            if server.stalls and body:
                stall = server.stalls.pop(0)
                self.send_block(body[:stall])
                server.stalled.set()
                server.go_on.wait(10)
                body = body[stall:]
            cut = server.cuts.pop(0) if server.cuts else len(body)
            self.send_block(body[:cut])
            if server.framing == "chunked" and cut == len(body):
                self.wfile.write(b"0\r\n\r\n")

        def send_block(self, block: bytes) -> None:
            chunked = server.framing == "chunked" and block
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing; what matters is in ``requests``."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        scheme = "https"
    server.address = f"{scheme}://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
