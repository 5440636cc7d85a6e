"""The server process: uvicorn around the application, with its log and its end by signals."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn

from activeindex.errors import InputError, reason_of
from activeindex.extractors.base import Extractor
from activeindex.service.app import create_app
from activeindex.service.desk import Desk, Limits
from activeindex.service.http import HEADER_BYTES, JsonLines
from activeindex.service.metrics import Metrics

_IDLE_SECONDS = 10
_DRAIN_SECONDS = 60


def serve(
    store: str | os.PathLike[str],
    extractor: Extractor,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    max_bytes: int = 20_000_000,
    max_pixels: int = 50_000_000,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a store until SIGINT or SIGTERM, which let running requests end.

    Args:
        store: Address of the store, which is made where there is none.
        extractor: Its extractor.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        workers: Processes that activate.
        max_bytes: Largest upload.
        max_pixels: The most pixels of a picture.
        say: Told the address once the service answers.

    Raises:
        InputError: If the port is taken, or the store is of another extractor.
    """
    listening = _listening(host, port)
    limits = Limits(bytes=max_bytes, pixels=max_pixels)
    with contextlib.closing(listening):
        app = create_app(
            lambda: Desk.opened(
                store, extractor=extractor, limits=limits, workers=workers, metrics=Metrics()
            )
        )
        _log_as_json()
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            h11_max_incomplete_event_size=HEADER_BYTES,
            http="h11",
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        count = app.desk.store.count()
        here = listening.getsockname()
        shown = f"[{here[0]}]" if ":" in here[0] else here[0]
        say(f"http://{shown}:{here[1]} serves {store}: {count:,} images")
        asyncio.run(_Server(config).serve(sockets=[listening]))


class _Server(uvicorn.Server):
    """A server that ends with exit code 0 after the signals that ask for it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the server, and nothing else."""
        usual = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        raise InputError(
            f"port {port}: expected one that is free on {host} ({reason_of(error)})"
        ) from None
    return made


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("activeindex.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name.startswith("active") else logging.WARNING)
