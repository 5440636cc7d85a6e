"""Engine of ``faiss:PATH``: codes in memory in a FAISS index, records in SQLite."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.errors import ActiveIndexError, InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import Neighbours
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Progress
from activeindex.stores.faiss.codes import CodeIndex
from activeindex.stores.generation import Generation, Ids
from activeindex.stores.ingest import CodedPart
from activeindex.stores.records import MEASURES

_FILE = "records.sqlite"

# Codes and features are not in the table of records: opening a store reads all codes only.
_TABLES = f"""
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sha256 TEXT,
    {", ".join(f"{name} REAL" for name in MEASURES)}, activation TEXT);
CREATE TABLE IF NOT EXISTS codes (id INTEGER PRIMARY KEY, code BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS features (id INTEGER PRIMARY KEY, feature BLOB NOT NULL);
"""
_COLUMNS = ("name", "sha256", *MEASURES, "activation")
_TABLE_OF = {"code": "codes", "feature": "features"}

_PAGE_SIZE = 16384
"""Bytes; eight features of 512 values. SQLite's 4096 would waste half a page on each."""

_VALUES = 512
"""Values in one statement."""

_TIMEOUT = 60.0
"""Seconds that a writer waits for readers, and readers for it."""


class FaissGeneration(Generation):
    """:class:`Generation` in any index that FAISS can add codes to."""

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        super().__init__(folder, trained)
        self._codes: CodeIndex | None = None
        self._version = 0
        """Version of the database that the codes are of."""
        path = folder / _FILE
        self._database = sqlite3.connect(path, _TIMEOUT, isolation_level=None)
        try:
            self._database.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            # As in Lance's SQL.
            self._database.execute("PRAGMA case_sensitive_like = ON")
            self._database.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self.close()
            raise InputError(f"{path}: expected the records of a store ({error})") from None

    @staticmethod
    def check(trained: TrainedIndex) -> None:
        """Check that FAISS can add codes to the index."""
        CodeIndex(trained)

    def commit(self, written: CodedPart) -> None:
        """Add images in one transaction."""
        ids = written.ids.tolist()
        marks = ", ".join("?" * (1 + len(_COLUMNS)))
        features = np.ascontiguousarray(written.features, dtype="<f4")
        with self._transaction("IMMEDIATE"):
            for table, values in (("codes", written.codes), ("features", features)):
                self._database.executemany(
                    f"INSERT INTO {table} VALUES (?, ?)",
                    ((i, row.tobytes()) for i, row in zip(ids, values, strict=True)),
                )
            self._database.executemany(
                f"INSERT INTO images VALUES ({marks})",
                zip(ids, *(written.columns[name] for name in _COLUMNS), strict=True),
            )
        if self._codes is not None:
            self._codes.add(written.ids, written.codes)

    def index(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Do nothing: a search reads the codes that are there."""

    def delete(self, ids: Sequence[int]) -> None:
        """Delete rows in one transaction."""
        with self._transaction("IMMEDIATE"):
            for table in ("images", "codes", "features"):
                self._database.executemany(f"DELETE FROM {table} WHERE id = ?", ((i,) for i in ids))
        self._codes = None  # Filled again by the next search.

    def rows(
        self, columns: Sequence[str], column: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Read rows, from the tables that have the columns."""
        needed = [_TABLE_OF.get(each, "images") for each in (*columns, column) if each != "id"]
        tables = " NATURAL JOIN ".join(dict.fromkeys(needed))
        found: list[tuple[Any, ...]] = []
        with self._errors():
            for part in batches_of(values, _VALUES):
                marks = ", ".join("?" * len(part))
                statement = f"SELECT {', '.join(columns)} FROM {tables} WHERE {column} IN ({marks})"
                found += self._database.execute(statement, part)
        return found

    def features(self, ids: Ids) -> Features:
        """Features, of their bytes in the database."""
        found = dict(self.rows(("id", "feature"), "id", ids.tolist()))
        values = np.frombuffer(b"".join(found[i] for i in ids.tolist()), "<f4")
        return values.reshape(len(ids), self.quantiser.dimension)

    def select(self, where: str) -> Ids:
        """Ids that match a filter in SQLite's SQL."""
        try:
            self._database.execute("PRAGMA query_only = ON")
            found = self._database.execute(f"SELECT id FROM images WHERE ({where}) ORDER BY id")
            return np.fromiter((i for (i,) in found), np.int64)
        except sqlite3.Error as error:
            raise InputError(f"where {where!r}: expected a filter in SQL ({error})") from None
        finally:
            self._database.execute("PRAGMA query_only = OFF")

    def candidates(
        self, features: Features, count: int, nprobe: int, refine: int, where: str | None
    ) -> Neighbours:
        """Search the codes, and with ``refine`` compare the features of what was found."""
        with self._transaction():  # Everything inside sees one state of the database.
            codes = self._filled()
            allowed = None if where is None else self.select(where)
            if not refine:
                return codes.search(features, count, nprobe, allowed)
            found = codes.search(features, count * refine, nprobe, allowed)
            for feature, distances, ids in zip(features, found.distances, found.ids, strict=True):
                raw = self.features(ids[ids >= 0])
                distances[ids >= 0] = (
                    raw @ feature if self.largest_first else ((feature - raw) ** 2).sum(axis=1)
                )
        return found

    def compact(self, engine: Engine | None = None) -> None:
        """Return the space of removed images to the disk."""
        with self._errors():
            self._database.execute("VACUUM")

    def count(self) -> int:
        """Number of images."""
        with self._errors():
            return int(self._database.execute("SELECT COUNT(*) FROM codes").fetchone()[0])

    def searched(self) -> int:
        """Number of codes in memory."""
        with self._errors():
            return self._filled().count

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _filled(self) -> CodeIndex:
        """The codes that are in the database now."""
        version = int(self._database.execute("PRAGMA data_version").fetchone()[0])
        codes = self._codes
        if codes is not None and version == self._version:
            return codes
        if codes is not None:  # Another process has written: ids only grow, so new ones are last.
            old = "SELECT COUNT(*) FROM codes WHERE id <= ?"
            (count,) = self._database.execute(old, (codes.last,)).fetchone()
            codes = codes if count == codes.count else None
        self._codes = codes = codes or CodeIndex(self.trained)
        rows = self._database.execute(
            "SELECT id, code FROM codes WHERE id > ? ORDER BY id", (codes.last,)
        )
        while block := rows.fetchmany(1 << 16):
            ids = np.fromiter((i for i, _ in block), np.int64, len(block))
            joined = np.frombuffer(b"".join(code for _, code in block), np.uint8)
            codes.add(ids, joined.reshape(len(block), -1))
        self._version = version
        return codes

    @contextlib.contextmanager
    def _transaction(self, kind: str = "") -> Iterator[None]:
        with self._errors(), self._database:
            self._database.execute(f"BEGIN {kind}")
            yield

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what SQLite refuses (a full disk, a locked file) into an error for the user."""
        try:
            yield
        except sqlite3.OperationalError as error:
            path = self.folder / _FILE
            raise ActiveIndexError(f"{path}: the store cannot be used ({error})") from error
