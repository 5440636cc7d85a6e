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

        try:
            body.check_length(_header(scope, b"content-length"))
            await self._app(scope, body, sent)
        except Refusal as refusal:
            if status:
                raise
            await problem(refusal)(scope, receive, sent)
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
    """The body of a request, as far as it keeps the limits."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._most = limits.bytes + _FORM_BYTES
        self._read, self._whole = 0, False
        self._until = time.monotonic() + limits.seconds

    def check_length(self, given: str) -> None:
        """Refuse a body by its declared length.

        Raises:
            Refusal: If it is too long (413), or none (400).
        """
        if given and not (given.isascii() and given.isdigit()):
            raise Refusal(400, "Content-Length: expected a number")
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
            raise Refusal(408, f"the body did not arrive in {self._limits.seconds:g} s") from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._read > self._most:
                raise self._too_large()
        return message

    def _too_large(self) -> Refusal:
        return Refusal(413, f"expected a file of at most {self._limits.bytes:,} bytes")


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
