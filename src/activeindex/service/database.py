"""The service's own records in SQLite: keys, registrations, and released files."""

import contextlib
import errno
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from activeindex.errors import InputError
from activeindex.runtime.files import make_folder

FOLDER = "service"
"""Folder in that of the store, with the database, the uploads and the released files."""

FILE = "service.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL, scopes TEXT NOT NULL,
    created REAL NOT NULL, expires REAL, revoked REAL);
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, key TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, changed REAL NOT NULL, request TEXT NOT NULL, status INTEGER,
    answer TEXT, token TEXT, body TEXT NOT NULL, UNIQUE (key, token));
CREATE INDEX IF NOT EXISTS open_jobs ON jobs (created) WHERE status IS NULL;
CREATE TABLE IF NOT EXISTS released (image INTEGER PRIMARY KEY, file TEXT NOT NULL,
    key TEXT NOT NULL, created REAL NOT NULL);
"""

State = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True)
class Job:
    """A registration.

    Attributes:
        id: Its random id.
        key: Id of the key that asked for it.
        state: ``queued``, ``running``, ``done`` or ``failed``.
        created: Time in seconds since 1970.
        changed: Time of the last change of the state.
        request: What was asked for.
        status: HTTP status of the answer; None until there is one.
        answer: The answer, as JSON has it.
        body: Hash of the request, to tell a repeated one from another.
    """

    id: str
    key: str
    state: State
    created: float
    changed: float
    request: Mapping[str, Any]
    status: int | None
    answer: Mapping[str, Any] | None
    body: str


class Database(contextlib.AbstractContextManager["Database"]):
    """Connection to ``service.sqlite`` in the folder of a store; threads take turns.

    Every change is on the disk when its method returns.

    Args:
        store: Folder of the store.

    Raises:
        InputError: If the file is no database.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store / FOLDER
        make_folder(self.folder)
        self._turn = threading.RLock()
        path = self.folder / FILE
        try:
            self._connection = sqlite3.connect(
                path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{path}: expected the records of a service ({error}); put it back from a copy"
            ) from None

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Change several rows, all or none.

        Raises:
            OSError: If they cannot be written: no room on the disk, for example.
        """
        try:
            with self._turn, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
        except sqlite3.OperationalError as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, f"{self.folder / FILE}: {error}") from error

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read rows."""
        with self._turn:
            return self._connection.execute(statement, values).fetchall()

    def begin(
        self, number: str, key: str, request: Mapping[str, Any], body: str, token: str | None
    ) -> Job | None:
        """Add a job; return the one that is there for the same key and token instead, if any."""
        with self.changing() as database:
            if token is not None:
                found = database.execute(
                    "SELECT id FROM jobs WHERE key = ? AND token = ?", (key, token)
                ).fetchone()
                if found is not None:
                    return self.job(found[0])
            now = time.time()
            database.execute(
                "INSERT INTO jobs VALUES (?, ?, 'queued', ?, ?, ?, NULL, NULL, ?, ?)",
                (number, key, now, now, json.dumps(request), token, body),
            )
        return None

    def job(self, number: str) -> Job | None:
        """The job of an id."""
        found = self.rows(
            "SELECT id, key, state, created, changed, request, status, answer, body FROM jobs "
            "WHERE id = ?",
            number,
        )
        if not found:
            return None
        number, key, state, created, changed, request, status, answer, body = found[0]
        loaded = None if answer is None else json.loads(answer)
        return Job(
            *(number, key, state, created, changed), json.loads(request), status, loaded, body
        )

    def open_jobs(self) -> list[str]:
        """Ids of the jobs without an answer, oldest first."""
        return [
            i for (i,) in self.rows("SELECT id FROM jobs WHERE status IS NULL ORDER BY created")
        ]

    def set_running(self, number: str) -> None:
        """Note that a job is computed."""
        with self.changing() as database:
            database.execute(
                "UPDATE jobs SET state = 'running', changed = ? WHERE id = ?",
                (time.time(), number),
            )

    def finish(
        self,
        number: str,
        status: int,
        answer: Mapping[str, Any],
        released: tuple[int, str, str] | None = None,
    ) -> None:
        """Note the answer of a job, and the image, file and key of its release."""
        state = "done" if status < 300 else "failed"
        with self.changing() as database:
            database.execute(
                "UPDATE jobs SET state = ?, changed = ?, status = ?, answer = ? WHERE id = ?",
                (state, time.time(), status, json.dumps(answer), number),
            )
            if released is not None:
                database.execute(
                    "INSERT OR REPLACE INTO released VALUES (?, ?, ?, ?)",
                    (*released, time.time()),
                )

    def forget(self, number: str) -> None:
        """Drop a job that was not accepted."""
        with self.changing() as database:
            database.execute("DELETE FROM jobs WHERE id = ?", (number,))

    def released_file(self, image: int) -> str | None:
        """Name of the released file of an image."""
        found = self.rows("SELECT file FROM released WHERE image = ?", image)
        return found[0][0] if found else None

    def forget_released(self, image: int) -> str | None:
        """Drop the release of an image; return its file if no other image has it."""
        with self.changing() as database:
            file = self.released_file(image)
            database.execute("DELETE FROM released WHERE image = ?", (image,))
            others = database.execute("SELECT 1 FROM released WHERE file = ?", (file,)).fetchone()
        return None if others else file

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()
