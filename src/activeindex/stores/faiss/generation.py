"""Engine of ``faiss:PATH``: codes in memory in a FAISS index, records in SQLite."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import Neighbours
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Progress
from activeindex.stores.checksums import sums_of, write_sums
from activeindex.stores.faiss.codes import CodeIndex, weights
from activeindex.stores.faiss.database import FILE, Database
from activeindex.stores.filters import Filter
from activeindex.stores.generation import Generation, Ids
from activeindex.stores.ingest import CodedPart
from activeindex.stores.records import BLOBS, CHECKSUMS, COLUMNS

_NEW = ("tags", "metadata", "disabled_until", *BLOBS, *CHECKSUMS)
"""Columns that schema 1 does not have."""

_TABLE_OF = {"code": "codes"} | {
    column: f"{name}s" for name in ("feature", *BLOBS) for column in (name, f"{name}_checksum")
}

_VALUES = 512
"""Values in one statement."""


class FaissGeneration(Generation):
    """:class:`Generation` in any index that FAISS can add codes to.

    Threads take turns: SQLite gives them one connection to read, FAISS one index to search.
    """

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        super().__init__(folder, trained)
        self._codes: CodeIndex | None = None
        self._version = 0
        """Version of the database that the codes are of."""
        self._removed = self._weight = 0
        """The last number in ``removed`` that the codes are without, and the sum of weights."""
        self._turn = threading.RLock()
        self._database = Database(folder / FILE)
        self.schema = self._database.schema

    @classmethod
    def create(cls, folder: Path, trained: TrainedIndex) -> Self:
        """Make the database."""
        cls.check(trained)
        Database.create(folder / FILE)
        write_sums(folder, {path.name: sums_of(path) for path in folder.iterdir()})
        return cls(folder, trained)

    @staticmethod
    def check(trained: TrainedIndex) -> None:
        """Check that FAISS can add codes to the index."""
        CodeIndex(trained)

    def commit(self, written: CodedPart) -> None:
        """Add images in one transaction."""
        ids = written.ids.tolist()
        columns = dict(written.columns)
        for name, values in (("feature", written.features), ("code", written.codes)):
            columns[name] = [row.tobytes() for row in values]  # SQLite is slow with arrays.
        tables = {"images": [*COLUMNS, "checksum"], "codes": ["code"]}
        for name in ("feature", *BLOBS):
            tables[f"{name}s"] = [name, f"{name}_checksum"]
        with self._database.writing() as database:
            for table, names in tables.items():
                if self.schema == 1:
                    names = [name for name in names if name not in _NEW]
                rows: Iterable[tuple[Any, ...]]
                rows = zip(ids, *(columns[name] for name in names), strict=True)
                if table != "images":
                    rows = (row for row in rows if row[-1] is not None)
                if names:
                    marks = ", ".join("?" * (1 + len(names)))
                    database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            if self.schema > 1:
                _count(database, len(ids), int(weights(written.ids, written.codes).sum()))

    def index(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Do nothing: a search reads the codes that are there."""

    def unfinished(self, engine: Engine | None = None) -> bool:
        """True if there is a write-ahead log."""
        return self._database.unfinished()

    def finish(self, engine: Engine | None = None) -> None:
        """Move the write-ahead log into the database."""
        self._database.finish()

    def delete(self, ids: Sequence[int]) -> None:
        """Delete rows in one transaction."""
        tables = ["images", "codes", "features"]
        tables += [f"{name}s" for name in BLOBS if self.schema > 1]
        with self._database.writing() as database:
            if self.schema > 1:
                found = self.rows(("id", "code"), "id", ids)
                numbers = np.array([number for number, _ in found], np.int64)
                codes = np.frombuffer(b"".join(code for _, code in found), np.uint8)
                lost = weights(numbers, codes.reshape(len(found), -1)) if found else np.array([])
                database.executemany(
                    "INSERT INTO removed (id, weight) VALUES (?, ?)",
                    zip(numbers.tolist(), lost.tolist(), strict=True),
                )
                _count(database, -len(found), -int(lost.sum()))
            for table in tables:
                database.executemany(f"DELETE FROM {table} WHERE id = ?", ((i,) for i in ids))

    def replace(self, part: CodedPart) -> None:
        """Update the records."""
        names = [*COLUMNS, "checksum"]
        values = zip(*(part.columns[name] for name in names), part.ids.tolist(), strict=True)
        assigned = ", ".join(f"{name} = ?" for name in names)
        with self._database.writing() as database:
            database.executemany(f"UPDATE images SET {assigned} WHERE id = ?", values)

    def rows(
        self, columns: Sequence[str], column: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Read rows, from the tables that have the columns."""
        there = [c for c in (*columns, column) if c != "id" and (self.schema > 1 or c not in _NEW)]
        tables = dict.fromkeys(_TABLE_OF.get(c, "images") for c in there) or ["images"]
        chosen = [c if c in (*there, "id") else f"NULL AS {c}" for c in columns]
        joined = " NATURAL JOIN ".join(tables)
        found: list[tuple[Any, ...]] = []
        with self._turn, self._database.errors():
            for part in batches_of(values, _VALUES):
                marks = ", ".join("?" * len(part))
                statement = f"SELECT {', '.join(chosen)} FROM {joined} WHERE {column} IN ({marks})"
                found += self._database.reader.execute(statement, part)
        return found

    def ids(self) -> Ids:
        """All ids, ascending."""
        with self._turn, self._database.errors():
            found = self._database.reader.execute("SELECT id FROM images ORDER BY id")
            return np.fromiter((i for (i,) in found), np.int64)

    def ids_after(self, number: int, count: int) -> Ids:
        """The first ids after a number, without reading the others."""
        statement = "SELECT id FROM images WHERE id > ? ORDER BY id LIMIT ?"
        with self._turn, self._database.errors():
            found = self._database.reader.execute(statement, (number, count))
            return np.fromiter((i for (i,) in found), np.int64)

    def select(self, where: Filter) -> Ids:
        """Ids that match a filter."""
        condition, constants = where.for_sqlite()
        statement = f"SELECT id FROM images WHERE {condition} ORDER BY id"
        with self._turn, self._database.errors():
            found = self._database.reader.execute(statement, constants)
            return np.fromiter((i for (i,) in found), np.int64)

    def candidates(
        self, features: Features, count: int, nprobe: int, refine: int, where: Filter | None
    ) -> Neighbours:
        """Search the codes, and with ``refine`` compare the features of what was found."""
        with self._turn, self._database.reading():  # Everything inside sees one state.
            codes = self._filled()
            allowed = None if where is None else self.select(where)
            wanted = min(count * max(refine, 1), max(count, self.count()))
            found = codes.search(features, wanted, nprobe, allowed)
            for feature, distances, ids in zip(features, found.distances, found.ids, strict=True):
                if refine:
                    raw = self.features(ids[ids >= 0])
                    distances[ids >= 0] = (
                        raw @ feature if self.largest_first else ((feature - raw) ** 2).sum(axis=1)
                    )
        return found

    def check_files(self, *, full: bool) -> Iterator[str]:
        """Check the write-ahead log, and with ``full`` the tables and the codes."""
        yield from self._database.check(full=full)
        if full:
            self.searched()

    def disabled(self) -> Ids:
        """Ids that no search finds now."""
        if self.schema == 1:
            return np.empty(0, np.int64)
        statement = "SELECT id FROM images WHERE disabled_until > ?"
        with self._turn, self._database.errors():
            found = self._database.reader.execute(statement, (time.time(),))
            return np.fromiter((i for (i,) in found), np.int64)

    def compact(self, engine: Engine | None = None) -> None:
        """Return the space of removed images to the disk."""
        if self.schema > 1:
            with self._database.writing() as database:
                database.execute(
                    "UPDATE totals SET forgotten = coalesce((SELECT max(sequence) FROM removed), "
                    "forgotten)"
                )
                database.execute("DELETE FROM removed")
        self._database.checkpoint(vacuum=True)

    def count(self) -> int:
        """Number of images."""
        counted = "SELECT count FROM totals" if self.schema > 1 else "SELECT COUNT(*) FROM codes"
        with self._turn, self._database.errors():
            found = self._database.reader.execute(counted).fetchone()
        if found is None or not isinstance(found[0], int):
            raise self.damaged("number of images")
        return found[0]

    def searched(self) -> int:
        """Number of codes in memory."""
        with self._turn, self._database.reading():
            return self._filled().count

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _filled(self) -> CodeIndex:
        """The codes that are in the database now."""
        database = self._database.reader
        version = int(database.execute("PRAGMA data_version").fetchone()[0])
        codes = self._codes
        if codes is not None and version == self._version:
            return codes
        self._codes = None
        if self.schema == 1:
            codes, weight = None, 0
        else:
            weight, forgotten = database.execute("SELECT weight, forgotten FROM totals").fetchone()
            if self._removed < forgotten:
                codes = None
        if codes is not None:  # Ids only grow, so new ones are last.
            removed = database.execute(
                "SELECT sequence, id, weight FROM removed WHERE sequence > ? AND id <= ?",
                (self._removed, codes.last),
            ).fetchall()
            codes.remove(np.array([number for _, number, _ in removed], np.int64))
            self._weight -= sum(lost for _, _, lost in removed)
        else:
            codes, self._weight = CodeIndex(self.trained), 0
        rows = database.execute(
            "SELECT id, code FROM codes WHERE id > ? ORDER BY id", (codes.last,)
        )
        while block := rows.fetchmany(1 << 16):
            ids = np.fromiter((i for i, _ in block), np.int64, len(block))
            joined = np.frombuffer(b"".join(code for _, code in block), np.uint8)
            added = joined.reshape(len(block), -1)
            codes.add(ids, added)
            self._weight += int(weights(ids, added).sum())
        if self.schema > 1:
            if self._weight != weight:
                raise self.damaged("codes")
            last = "SELECT coalesce((SELECT max(sequence) FROM removed), forgotten) FROM totals"
            (self._removed,) = database.execute(last).fetchone()
        self._codes, self._version = codes, version
        return codes


def _count(database: Any, count: int, weight: int) -> None:
    database.execute("UPDATE totals SET count = count + ?, weight = weight + ?", (count, weight))
