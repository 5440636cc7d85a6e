"""Below the routes: limits of a request's body, ids of requests, log lines and metrics."""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activeindex.service.desk import Limits, Refusal
from activeindex.service.metrics import Metrics

PROBLEM = "application/problem+json"

HEADER_BYTES = 16_384
"""Of the headers of a request."""

_FORM_BYTES = 100_000
"""Of the other fields of a form, beside a file."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = logging.getLogger("activeindex.service")

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


def problem(refusal: Refusal) -> JSONResponse:
    """The answer to a request that is not done."""
    headers = {}
    if refusal.status == 503:
        headers["Retry-After"] = "5"
    elif refusal.status == 429:
        headers["Retry-After"] = "1"
    elif refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = refusal.as_json()
    return JSONResponse(body, refusal.status, headers, media_type=PROBLEM)


class Envelope:
    """Middleware around all routes.

    It refuses bodies that are too large or too slow before anything is decoded, gives every request
    an id, and writes a line of JSON and metrics for every answer.

    Args:
        app: The routes.
        limits: Limits of a body.
        metrics: Where answers are counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        number = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["state"] = {**scope.get("state", {}), "request_id": number}
        started, status = time.perf_counter(), 0
        body = _Body(receive, self._limits)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name for name, _ in message["headers"]}
                new = [(name, v) for name, v in _HEADERS.items() if name not in there]
                message["headers"] = [
                    *message["headers"],
                    *new,
                    (b"x-request-id", number.encode()),
                ]
            await send(message)

        async def sent_unless_refused(message: Message) -> None:
            if body.refused is None:
                await sent(message)

        try:
            try:
                body.check_headers(scope)
                await self._app(scope, body, sent_unless_refused)
            except Refusal:
                if body.refused is None:
                    raise
            # The parser of forms makes another error of it.
            if body.refused is not None and not status:
                await problem(body.refused)(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, scope["method"], status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            key = scope["state"].get("key", "")
            line = {"request": number, "method": scope["method"], "route": route}
            line |= {"status": status, "ms": round(seconds * 1e3, 1), "key": key}
            _log.info("answer", extra={"fields": line})


class _Body:
    """The body of a request, as far as it keeps the limits.

    Attributes:
        refused: Why it was refused; None if it was not.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._most = limits.bytes + _FORM_BYTES
        self._read, self._whole = 0, False
        self.refused: Refusal | None = None
        self._until = time.monotonic() + limits.seconds

    def check_headers(self, scope: Scope) -> None:
        """Refuse large headers, and a body by its declared length.

        Raises:
            Refusal: If they are too long (431, 413), or the length is none (400).
        """
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            raise self._refusal(431, f"expected headers of at most {HEADER_BYTES:,} bytes")
        given = _header(scope, b"content-length")
        if given and not (given.isascii() and given.isdigit()):
            raise self._refusal(400, "Content-Length: expected a number")
        if given and int(given) > self._most:
            raise self._too_large()

    async def __call__(self) -> Message:
        """Receive a part of the body.

        Raises:
            Refusal: If the body is too long (413) or too slow (408).
        """
        if self._whole:  # What follows is the end of the connection.
            return await self._receive()
        left = self._until - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            late = f"the body did not arrive in {self._limits.seconds:g} s"
            raise self._refusal(408, late) from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._read > self._most:
                raise self._too_large()
        return message

    def _too_large(self) -> Refusal:
        return self._refusal(413, f"expected a file of at most {self._limits.bytes:,} bytes")

    def _refusal(self, status: int, detail: str) -> Refusal:
        self.refused = Refusal(status, detail)
        return self.refused


def _header(scope: Scope, name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in scope["headers"] if n == name), "")


class JsonLines(logging.Formatter):
    """A line of JSON for every log record."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line |= fields
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
