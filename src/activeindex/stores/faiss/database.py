"""The SQLite database of a generation: tables, connections, and the write-ahead log."""

import contextlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from activeindex.errors import ActiveIndexError, InputError, reason_of
from activeindex.stores.checksums import BLOCK, read_sums, updated, write_sums
from activeindex.stores.records import BLOBS, COLUMNS, TEXTS

FILE = "records.sqlite"

# Codes, features and other values are in tables of their own: opening a store reads codes only.
_VALUES_TABLES = "\n".join(
    f"CREATE TABLE {name}s (id INTEGER PRIMARY KEY, {name} BLOB NOT NULL, "
    f"{name}_checksum INTEGER NOT NULL);"
    for name in ("feature", *BLOBS)
)
_TYPES = {
    name: "TEXT NOT NULL UNIQUE" if name == "name" else "TEXT" if name in TEXTS else "REAL"
    for name in COLUMNS
}
_TABLES = f"""
CREATE TABLE images (id INTEGER PRIMARY KEY,
    {", ".join(f"{name} {kind}" for name, kind in _TYPES.items())}, checksum INTEGER NOT NULL);
CREATE INDEX disabled ON images (disabled_until) WHERE disabled_until IS NOT NULL;
CREATE TABLE codes (id INTEGER PRIMARY KEY, code BLOB NOT NULL);
{_VALUES_TABLES}
CREATE TABLE removed (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL, weight INTEGER NOT NULL);
CREATE TABLE totals (count INTEGER NOT NULL, weight INTEGER NOT NULL, forgotten INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0, 0);
PRAGMA user_version = 2;
"""
"""``removed`` tells processes that have codes in memory which ones to drop, up to the sequence
``forgotten``; ``totals`` has the sum of :func:`~activeindex.stores.faiss.codes.weights`."""

_PAGE_SIZE = 16384
"""Bytes; eight features of 512 values. SQLite's 4096 would waste half a page on each."""

_TIMEOUT = 60.0
"""Seconds that a writer waits for readers, and readers for it."""

_LONGEST_LOG = 1 << 22
"""Bytes of the write-ahead log after which it is moved into the database."""


class Database:
    """Records in SQLite: a connection to read, and one to write once something is written.

    Readers never change the file: the checksums of its blocks are kept by the one that writes.
    Where nothing can be written, as on a read-only medium, the file is taken for immutable.

    Args:
        path: The file.

    Attributes:
        schema: 1 or 2.
        reader: Connection to read.

    Raises:
        InputError: If there is no such file, or another one.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._log = path, path.with_name(f"{path.name}-wal")
        if not path.is_file():
            raise InputError(f"{path}: expected the records of a store, found nothing")
        with path.open("rb") as file:
            (version,) = struct.unpack(">I", file.read(100)[60:64].rjust(4, b"\0"))
        self.schema = 2 if version == 2 else 1
        writable = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
        mode = "ro" if self.schema > 1 else "rw"  # Only a writer repairs what a kill left.
        if not writable:
            mode = "ro" if self.log_size() else "ro&immutable=1"
        self._writer: sqlite3.Connection | None = None
        self.reader = self._connect(mode)

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty database."""
        with (
            sqlite_errors(path),
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made,
        ):
            made.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            made.execute("PRAGMA journal_mode = WAL")
            made.executescript(f"BEGIN; {_TABLES} COMMIT;")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        with self.errors(), contextlib.ExitStack() as opened:
            made = sqlite3.connect(
                uri, _TIMEOUT, uri=True, isolation_level=None, check_same_thread=False
            )
            opened.callback(made.close)
            made.execute("PRAGMA case_sensitive_like = ON")  # As in Lance's SQL.
            made.execute("SELECT count(*) FROM sqlite_schema")  # Reads the file.
            opened.pop_all()
            return made

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Change the database in one transaction, which is on the disk when the block ends."""
        with self.errors():
            with self._begun(self._writer or self._open_writer()) as connection:
                yield connection
            if self.log_size() > _LONGEST_LOG:
                self.checkpoint()

    def _open_writer(self) -> sqlite3.Connection:
        self._writer = self._connect("rw")
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")
        return self._writer

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """See one state of the database."""
        with self.errors(), self._begun(self.reader, "DEFERRED") as connection:
            yield connection

    @contextlib.contextmanager
    def _begun(
        self, connection: sqlite3.Connection, kind: str = "IMMEDIATE"
    ) -> Iterator[sqlite3.Connection]:
        with connection:
            connection.execute(f"BEGIN {kind}")
            yield connection

    def log_size(self) -> int:
        """Bytes of the write-ahead log; more than 0 after a kill, or while someone writes."""
        return self._log.stat().st_size if self._log.is_file() else 0

    def checkpoint(self, *, vacuum: bool = False) -> None:
        """Move the log into the database, and update the checksums of the blocks that it changes.

        Args:
            vacuum: Rewrite the database without unused pages before.
        """
        with self.errors():
            writer = self._writer or self._open_writer()
            if vacuum:
                writer.execute("VACUUM")
            if self.schema == 1:
                return
            size = _page_size(self.path)
            changed = {(page - 1) * size // BLOCK for page in logged_pages(self._log)}
            sums = read_sums(self.path.parent)
            noted = sums[FILE]
            changed |= {number for number, each in enumerate(noted) if each is None}
            if not changed:
                return
            sums[FILE] = [None if n in changed else each for n, each in enumerate(noted)]
            write_sums(self.path.parent, sums)
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sums[FILE] = updated(self.path, sums[FILE], changed)
            write_sums(self.path.parent, sums)

    def unfinished(self) -> bool:
        """True after a kill, or while another process writes."""
        if self.schema == 1 or not os.access(self.path.parent, os.W_OK):
            return False
        return self.log_size() > 0 or None in read_sums(self.path.parent)[FILE]

    def check(self, *, full: bool) -> Iterator[str]:
        """Yield a line for each fault of the log, and with ``full`` of tables and indexes."""
        frames, _ = lost_frames(self._log)
        if frames:
            yield f"{self._log}: expected transactions as they were written, found other bytes"
        if full:
            with self.errors():
                for (line,) in self.reader.execute("PRAGMA integrity_check").fetchall():
                    if line != "ok":
                        yield f"{self.path}: {' '.join(line.split())}"

    def finish(self) -> None:
        """Move what a killed process has left in the log into the database.

        Raises:
            InputError: If transactions in the log are damaged, which SQLite would leave out.
        """
        # One may be that which a power loss has cut off, before it was on the disk.
        if (lost := lost_frames(self._log)[1]) > 1:
            raise InputError(
                f"{self._log}: expected {lost} transactions as they were written, found other "
                "bytes; put the store back from a copy, or delete this file to go on without them"
            )
        self.checkpoint()

    def close(self) -> None:
        """Close the connections; the one to write last, which removes the files of the log."""
        self.reader.close()
        if self._writer is not None:
            self._writer.close()

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what SQLite refuses into an error for the user."""
        return sqlite_errors(self.path)


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite refuses (a full disk, a locked file) into an error for the user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ActiveIndexError(f"{path}: the store cannot be used ({error})") from error
    except (sqlite3.Error, MemoryError) as error:
        raise InputError(
            f"{path}: expected the records of a store ({reason_of(error)}); put it back "
            "from a copy of the store"
        ) from None


def _page_size(path: Path) -> int:
    with path.open("rb") as file:
        (size,) = struct.unpack(">H", file.read(18)[16:18])
    return 65536 if size == 1 else int(size)


def logged_pages(log: Path) -> set[int]:
    """Numbers of the pages in a write-ahead log, which is emptied at every checkpoint.

    See https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
    """
    pages = set()
    if log.is_file():
        with log.open("rb") as file:
            size = int.from_bytes(file.read(32)[8:12])
            while size and len(header := file.read(24)) == 24:
                pages.add(int.from_bytes(header[:4]))
                file.seek(size, os.SEEK_CUR)
    return pages


def lost_frames(log: Path) -> tuple[int, int]:
    """Frames of a write-ahead log that SQLite would leave out without a word.

    Returns:
        Number of whole frames whose checksums are wrong, and of transactions that end in them.
    """
    data = log.read_bytes() if log.is_file() else b""
    if len(data) < 32:
        return 0, 0
    magic, _, size, *_ = struct.unpack(">8I", data[:32])
    order = ">" if magic & 1 else "<"
    sums = _log_sums(data[:24], order, (0, 0))
    valid = sums == struct.unpack(">2I", data[24:32])
    frames, transactions = int(not valid), 0
    if not 512 <= size <= 65536:
        return 1, 1
    for start in range(32, len(data) - size - 23, size + 24):
        header, body = data[start : start + 24], data[start + 24 : start + 24 + size]
        if valid:
            sums = _log_sums(body, order, _log_sums(header[:8], order, sums))
            valid = header[8:] == data[16:24] + struct.pack(">2I", *sums)
        frames += not valid
        transactions += not valid and any(header[4:8])
    return frames, transactions


def _log_sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
