"""Routes of the page, and the sessions that a key opens."""

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated

import jinja2
from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from activeindex.service.database import Database
from activeindex.service.keys import Key, check_key, key_of_id

COOKIE = "activeindex"

_SECONDS = 12 * 3600.0
_MOST = 10_000
_SAFE = ("GET", "HEAD")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_STATIC = {"app.js": "text/javascript", "style.css": "text/css"}


@dataclass(frozen=True)
class Session:
    """A session of the page.

    Attributes:
        key: Id of the key that opened it.
        csrf: Token that requests must repeat which change something.
        until: Time in seconds since 1970 at which it ends.
    """

    key: str
    csrf: str
    until: float


class Sessions:
    """Sessions in memory; they end with the process.

    Args:
        database: Where the keys are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, Session] = {}
        self._turn = threading.Lock()

    def begin(self, text: str) -> str | None:
        """Open a session by a key; return the value of its cookie, None for a wrong key."""
        key = check_key(self._database, text.strip())
        if key is None:
            return None
        token, now = secrets.token_urlsafe(32), time.time()
        with self._turn:
            for each in [t for t, s in self._open.items() if s.until < now]:
                del self._open[each]
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
            csrf = secrets.token_urlsafe(32)
            self._open[_hash(token)] = Session(key.id, csrf, now + _SECONDS)
        return token

    def of(self, request: Request) -> tuple[Key, Session] | None:
        """The session of a request and its key, which is still valid; None without one."""
        token = request.cookies.get(COOKIE, "")
        with self._turn:
            session = self._open.get(_hash(token)) if token else None
        if session is None or session.until < time.time():
            return None
        key = key_of_id(self._database, session.key)
        return None if key is None or not key.valid else (key, session)

    def allows(self, request: Request) -> Key | None:
        """The key of a request of the page; what changes something needs the token, too."""
        found = self.of(request)
        if found is None:
            return None
        key, session = found
        given = request.headers.get("x-csrf-token", "")
        safe = request.method in _SAFE
        return key if safe or hmac.compare_digest(given.encode(), session.csrf.encode()) else None

    def end(self, request: Request) -> None:
        """End the session of a request."""
        with self._turn:
            self._open.pop(_hash(request.cookies.get(COOKIE, "")), None)


def add_page(app: FastAPI, sessions: Sessions) -> None:
    """Add the routes of the page."""
    folder = files("activeindex.service.page")
    environment = jinja2.Environment(autoescape=True)
    template = environment.from_string(folder.joinpath("index.html.j2").read_text("utf-8"))

    def page(status: int = 200, **values: object) -> HTMLResponse:
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
        return HTMLResponse(template.render(**values), status, headers)

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> HTMLResponse:
        found = sessions.of(request)
        if found is None:
            return page()
        key, session = found
        scopes = [s for s in ("search", "register", "remove") if key.allows(s)]
        return page(csrf=session.csrf, scopes=scopes)

    @app.post("/login", include_in_schema=False)
    def login(request: Request, key: Annotated[str, Form(max_length=200)]) -> Response:
        token = sessions.begin(key)
        if token is None:
            return page(401, wrong=True)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, token, int(_SECONDS), httponly=True, samesite="strict", secure=secure
        )
        return answer

    @app.post("/logout", include_in_schema=False)
    def logout(request: Request, csrf: Annotated[str, Form(max_length=200)]) -> Response:
        found = sessions.of(request)
        answer = RedirectResponse("/", 303)
        if found and hmac.compare_digest(csrf.encode(), found[1].csrf.encode()):
            sessions.end(request)
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            return Response(status_code=404)
        data = folder.joinpath(name).read_bytes()
        return Response(data, media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
