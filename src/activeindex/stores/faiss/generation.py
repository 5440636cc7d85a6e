"""``faiss:PATH``: codes in memory in a FAISS index, records in SQLite."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.errors import ActiveIndexError, InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import Neighbours
from activeindex.runtime.files import parse_json
from activeindex.runtime.pool import Engine
from activeindex.stores.faiss.codes import CodeIndex
from activeindex.stores.generation import TIES, Features, Generation, Ids, SearchOptions, ordered
from activeindex.stores.records import MEASURES, Batch, Record

_FILE = "records.sqlite"

# Codes and features lie apart from the records: opening a store reads all codes and nothing else.
_TABLES = f"""
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sha256 TEXT,
    {", ".join(f"{name} REAL" for name in MEASURES)}, activation TEXT);
CREATE TABLE IF NOT EXISTS codes (id INTEGER PRIMARY KEY, code BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS features (id INTEGER PRIMARY KEY, feature BLOB NOT NULL);
"""
_COLUMNS = ("name", "sha256", *MEASURES, "activation")
_PAGE = 16384  # Eight features of 512 values; SQLite's 4096 would waste half a page on each.
_ASKED = 512  # Values in one statement.
_PATIENCE = 60.0  # Seconds that a writer waits for those who are reading, and they for it.


class FaissGeneration(Generation):
    """See :class:`Generation`; any index that FAISS can add codes to."""

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        super().__init__(folder, trained)
        CodeIndex(trained)  # Says whether FAISS can.
        self._codes: CodeIndex | None = None
        self._state = 0  # Of the database, that the codes are of.
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE
        try:
            self._database = sqlite3.connect(path, _PATIENCE, isolation_level=None)
            self._database.execute(f"PRAGMA page_size = {_PAGE}")
            # As in Lance's SQL.
            self._database.execute("PRAGMA case_sensitive_like = ON")
            self._database.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: expected the records of a store ({error})") from None

    def add(self, ids: Ids, batch: Batch) -> None:
        """Adds images, all or none."""
        codes = self.quantiser.encode(batch.features)
        columns = batch.columns()
        numbers = ids.tolist()
        marks = ", ".join("?" * (1 + len(_COLUMNS)))
        features = np.ascontiguousarray(batch.features, dtype="<f4")
        with self._writing():
            for table, values in (("codes", codes), ("features", features)):
                self._database.executemany(
                    f"INSERT INTO {table} VALUES (?, ?)",
                    ((i, row.tobytes()) for i, row in zip(numbers, values, strict=True)),
                )
            self._database.executemany(
                f"INSERT INTO images VALUES ({marks})",
                zip(numbers, *(columns[name] for name in _COLUMNS), strict=True),
            )
        if self._codes is not None:
            self._codes.add(ids, codes)

    def remove(self, ids: Ids) -> int:
        """Removes images."""
        before = self.count()
        with self._writing():
            for table in ("images", "codes", "features"):
                self._database.executemany(
                    f"DELETE FROM {table} WHERE id = ?", ((i,) for i in ids.tolist())
                )
        self._codes = None  # Filled again by the next search.
        return before - self.count()

    def get(self, ids: Ids) -> list[Record]:
        """The records of ids."""
        found = self._asked(
            "SELECT id, name, sha256, code, activation FROM images JOIN codes USING (id) "
            "WHERE id IN ({})",
            ids.tolist(),
        )
        return sorted(
            (
                Record(i, name, sha256, code, activation and parse_json(activation), self.name)
                for i, name, sha256, code, activation in found
            ),
            key=lambda record: record.id,
        )

    def features(self, ids: Ids) -> Features:
        """The raw features of ids."""
        found = self._asked("SELECT id, feature FROM features WHERE id IN ({})", ids.tolist())
        rows = {i: np.frombuffer(feature, "<f4") for i, feature in found}
        values = [rows[i] for i in ids.tolist()]
        return np.stack(values) if values else np.empty((0, self.quantiser.dimension), np.float32)

    def named(self, names: Sequence[str]) -> dict[str, int]:
        """The ids of names."""
        return dict(self._asked("SELECT name, id FROM images WHERE name IN ({})", names))

    def select(self, where: str) -> Ids:
        """The ids that a filter lets through."""
        try:
            self._database.execute("PRAGMA query_only = ON")
            found = self._database.execute(f"SELECT id FROM images WHERE ({where}) ORDER BY id")
            return np.fromiter((i for (i,) in found), np.int64)
        except sqlite3.Error as error:
            raise InputError(f"where {where!r}: expected a filter in SQL ({error})") from None
        finally:
            self._database.execute("PRAGMA query_only = OFF")

    def search(self, features: Features, options: SearchOptions) -> Neighbours:
        """The nearest images."""
        with self._reading():
            codes = self._filled()
            allowed = None if options.where is None else self.select(options.where)
            if options.refine:
                return self._refined(codes, features, options, allowed)
        found = codes.search(features, options.k + TIES, options.nprobe, allowed)
        return ordered(found.distances, found.ids, options.k, largest=self.largest_first)

    def _refined(
        self, codes: CodeIndex, features: Features, options: SearchOptions, allowed: Ids | None
    ) -> Neighbours:
        k, largest = options.k, self.largest_first
        found = codes.search(features, k * options.refine, options.nprobe, allowed)
        distances = np.empty_like(found.distances)
        for row, ids in enumerate(found.ids):
            raw = self.features(ids[ids >= 0])
            exact = raw @ features[row] if largest else ((features[row] - raw) ** 2).sum(axis=1)
            distances[row, ids >= 0] = exact
        return ordered(distances, found.ids, k, largest=largest)

    def compact(self, engine: Engine | None = None) -> None:
        """Gives the room of removed images back to the disk."""
        with self._refusals():
            self._database.execute("VACUUM")

    def count(self) -> int:
        """How many images there are."""
        with self._refusals():
            return int(self._database.execute("SELECT COUNT(*) FROM codes").fetchone()[0])

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def _filled(self) -> CodeIndex:
        """The codes as they are in the database now."""
        state = int(self._database.execute("PRAGMA data_version").fetchone()[0])
        codes = self._codes
        if codes is not None and state == self._state:
            return codes
        if codes is not None:  # Others have written: ids only grow, so what is new comes last.
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
        self._state = state
        return codes

    def _asked(self, statement: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        with self._refusals():
            for start in range(0, len(values), _ASKED):
                part = values[start : start + _ASKED]
                asked = statement.format(", ".join("?" * len(part)))
                yield from self._database.execute(asked, part)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Everything inside sees one state of the records, whatever others write."""
        with self._refusals(), self._database:
            self._database.execute("BEGIN")
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Everything inside is written, or nothing."""
        with self._refusals(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the system refuses is the user's to mend."""
        try:
            yield
        except sqlite3.OperationalError as error:
            path = self.folder / _FILE
            raise ActiveIndexError(f"{path}: the store cannot be used ({error})") from error
