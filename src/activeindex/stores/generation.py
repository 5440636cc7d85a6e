"""Generations: the images of one quantiser, kept by an engine."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import Neighbours
from activeindex.runtime.files import parse_json
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import Progress
from activeindex.stores.filters import Filter
from activeindex.stores.ingest import Added, CodedPart, NewImages, Part, code_parts
from activeindex.stores.records import (
    BLOBS,
    COLUMNS,
    Record,
    record_checksum,
    value_checksum,
)

Ids = npt.NDArray[np.int64]

TIES = 16
"""Neighbours asked for beyond ``k``: images with equal codes at the end of the list are ordered by
their ids, not by the order in which an engine meets them."""


class Generation(ABC):
    """Images that were released under one quantiser; base of the engines.

    One process writes at a time, which the store sees to. A killed process leaves every image there
    whole or not at all.

    Args:
        folder: Folder of the engine's files.
        trained: The index that codes.

    Attributes:
        schema: 2, or 1 for a folder written before release 0.3, which has the columns ``id`` to
            ``activation``, codes and features, and no checksums.

    Raises:
        InputError: If the engine cannot use an index of this kind, or its files are not there.
        MissingExtraError: If the engine is not installed.
    """

    schema = 2

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        self.check(trained)
        self.folder = folder
        self.trained = trained
        self.quantiser = trained.quantiser

    @classmethod
    @abstractmethod
    def create(cls, folder: Path, trained: TrainedIndex) -> Self:
        """Make the files of a generation without images; see the class for errors."""

    @staticmethod
    @abstractmethod
    def check(trained: TrainedIndex) -> None:
        """Check that the engine is installed and can use an index; see the class for errors."""

    @property
    def identity(self) -> QuantiserIdentity:
        """Identity of the quantiser."""
        return self.trained.identity

    @property
    def largest_first(self) -> bool:
        """True if larger distances are nearer (inner products)."""
        return bool(self.trained.index.metric_type == faiss.METRIC_INNER_PRODUCT)

    def write(
        self,
        images: NewImages,
        parts: Sequence[tuple[int, Part]],
        data_dir: Path | None = None,
        engine: Engine | None = None,
    ) -> Iterator[tuple[Added, Any]]:
        """Code images and write them aside; they are there once they are committed.

        Args:
            images: The images, of which the parts are rows.
            parts: Id of the first image, larger than all ids before, and rows, of each part.
            data_dir: Folder of the originals, to hash those without an activation record.
            engine: Executor of the work; this process by default.

        Yields:
            The result of each part, and what :meth:`commit` takes.

        Raises:
            InputError: If a file is missing where it is read.
            MissingExtraError: If a package is not installed.
        """
        return code_parts(self.quantiser, images.features, parts, data_dir)

    @abstractmethod
    def commit(self, written: Any) -> None:
        """Add a part of :meth:`write`, all of its images or none."""

    def unfinished(self, engine: Engine | None = None) -> bool:
        """True if a killed process has left something for :meth:`finish`.

        Args:
            engine: Executor of the store, which indexes by itself.
        """
        return False

    @abstractmethod
    def finish(self, engine: Engine | None = None) -> None:
        """Finish or take back the work of a killed process; called by the one that writes.

        Args:
            engine: Executor of the store, which indexes by itself.
        """

    @abstractmethod
    def index(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Index the images that are not indexed yet, and are not found until they are.

        Args:
            engine: Executor of the work; this process by default.
            progress: Advanced at every part of the index.

        Raises:
            ActiveIndexError: If a part is not of the quantiser; it is removed again.
        """

    @abstractmethod
    def check_files(self, *, full: bool) -> Iterator[str]:
        """Yield a line for each fault that the checksums of files and images do not show.

        Args:
            full: Ask the engine whether its indexes fit the images.
        """

    @abstractmethod
    def compact(self, engine: Engine | None = None) -> None:
        """Rewrite the files without removed images, and for fast searches.

        Args:
            engine: Executor of what can be divided; this process by default.
        """

    @abstractmethod
    def count(self) -> int:
        """Number of images."""

    def searched(self) -> int:
        """Number of images, for a search; at once where it has the codes in memory."""
        return self.count()

    def remove(self, ids: Ids) -> int:
        """Remove images; returns how many of the ids there were."""
        before = self.count()
        self.delete(np.unique(ids).tolist())
        return before - self.count()

    @abstractmethod
    def delete(self, ids: Sequence[int]) -> None:
        """Delete the rows of ids."""

    def update(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of an image that is there, in one transaction.

        Args:
            number: Its id.
            changes: New values of columns of the record, as they are stored.
        """
        there = self.part(np.array([number], np.int64))
        columns = there.columns | {name: [value] for name, value in changes.items()}
        self.replace(CodedPart.of(there.ids, columns, there.features, there.codes))

    @abstractmethod
    def replace(self, part: CodedPart) -> None:
        """Replace the records of images that are there and keep their codes and features."""

    @abstractmethod
    def rows(
        self, columns: Sequence[str], column: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Read rows by their ids or names.

        Args:
            columns: Any of ``id``, ``code``, ``feature``, and the names in
                :mod:`~activeindex.stores.records`. Features are bytes; what the schema does not
                have is None.
            column: ``id`` or ``name``.
            values: Values of this column; those that are not there are left out.
        """

    def get(self, ids: Ids) -> list[Record]:
        """Records of those ids that are there, in ascending order.

        Raises:
            InputError: If one is damaged.
        """
        return list(map(self._record, self._checked_records(ids)))

    def _record(self, row: Mapping[str, Any]) -> Record:
        try:
            activation, tags, metadata = (
                None if row[name] is None else parse_json(row[name])
                for name in ("activation", "tags", "metadata")
            )
        except ValueError:
            raise self.damaged(f"record of the image with id {row['id']}") from None
        same = {name: row[name] for name in ("id", "name", "sha256", "code", "disabled_until")}
        return Record(
            **same,
            activation=activation,
            quantiser=self.identity,
            tags=tags or (),
            metadata=metadata,
        )

    def _checked_records(self, ids: Ids) -> Iterator[dict[str, Any]]:
        columns = ("id", *COLUMNS, "code", "checksum")
        for number, *values, code, checksum in sorted(self.rows(columns, "id", ids.tolist())):
            if self.schema > 1 and checksum != record_checksum(number, values, code):
                raise self.damaged(f"record of the image with id {number}")
            yield dict(zip(columns, (number, *values, code, checksum), strict=True))

    def damaged(self, part: str) -> InputError:
        """Error for a part whose checksum differs from its content."""
        return InputError(
            f"{self.folder}: expected the {part} as it was written, found other bytes; see "
            "`activeindex store check`, and put the store back from a copy"
        )

    def values(self, column: str, ids: Ids) -> list[Any]:
        """Bytes of a feature or another value of each id, None where there is none.

        Args:
            column: ``feature``, or one of :data:`~activeindex.stores.records.BLOBS`.
            ids: Ids that are all there.

        Raises:
            InputError: If one is damaged.
        """
        if self.schema == 1 and column in BLOBS:
            return [None] * len(ids)
        found = {}
        rows = self.rows(("id", column, f"{column}_checksum"), "id", ids.tolist())
        for number, value, checksum in rows:
            expected = None if value is None else value_checksum(number, value)
            if self.schema > 1 and checksum != expected:
                raise self.damaged(f"{column} of the image with id {number}")
            found[number] = value
        return [found.get(number) for number in ids.tolist()]

    def features(self, ids: Ids) -> Features:
        """Features ``(n, d)`` of ids that are all there, in their order.

        Raises:
            InputError: If one is damaged.
        """
        values = self.values("feature", ids)
        for number, value in zip(ids.tolist(), values, strict=True):
            if value is None or len(value) != 4 * self.quantiser.dimension:
                raise self.damaged(f"feature of the image with id {number}")
        return np.frombuffer(b"".join(values), "<f4").reshape(len(ids), self.quantiser.dimension)

    @abstractmethod
    def ids(self) -> Ids:
        """All ids, ascending."""

    def ids_after(self, number: int, count: int) -> Ids:
        """The first ``count`` ids that are larger than a number, ascending."""
        there = self.ids()
        return there[np.searchsorted(there, number, side="right") :][:count]

    def part(self, ids: Ids) -> CodedPart:
        """Images of ids that are all there, ascending, with their codes.

        Raises:
            InputError: If an image is damaged.
        """
        rows = list(self._checked_records(ids))
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        columns |= {name: self.values(name, ids) for name in BLOBS}
        codes = np.frombuffer(b"".join(row["code"] for row in rows), np.uint8)
        codes = codes.reshape(len(ids), self.quantiser.code_size)
        return CodedPart.of(ids, columns, self.features(ids), codes)

    def named(self, names: Sequence[str]) -> dict[str, int]:
        """Ids of those names that are there."""
        return dict(self.rows(("name", "id"), "name", names))

    @abstractmethod
    def disabled(self) -> Ids:
        """Ids of the images that no search finds now."""

    @abstractmethod
    def select(self, where: Filter) -> Ids:
        """Ids of the images that match a filter, ascending."""

    @property
    def lists(self) -> int:
        """Number of inverted lists; 1 for an index that compares every code."""
        inverted = faiss.try_extract_index_ivf(self.trained.index)
        return 1 if inverted is None else int(inverted.nlist)

    def search(
        self,
        features: Features,
        k: int,
        nprobe: int,
        refine: int = 0,
        where: Filter | None = None,
    ) -> Neighbours:
        """The nearest images of each feature; see :meth:`Store.search_features`."""
        hidden = self.disabled()
        count = len(hidden) + (k if refine else k + TIES)
        found = self.candidates(features, count, nprobe, refine, where)
        if len(hidden):
            found.ids[np.isin(found.ids, hidden)] = -1
        return ordered(found, k, largest=self.largest_first)

    @abstractmethod
    def candidates(
        self, features: Features, count: int, nprobe: int, refine: int, where: Filter | None
    ) -> Neighbours:
        """At least the ``count`` nearest images of each feature, in any order."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""


def id_batches(ids: Ids, size: int = 4096) -> Iterator[Ids]:
    """Split ids into batches of at most ``size``, in order."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def distinct(found: Neighbours, *, largest: bool) -> Neighbours:
    """Leave only the nearest of each row's neighbours with the same id; -1 for the others."""
    order = np.lexsort((-found.distances if largest else found.distances, found.ids))
    ids = np.take_along_axis(found.ids, order, axis=1)
    again = ids[:, 1:] == ids[:, :-1]
    ids[:, 1:][again] = -1
    return Neighbours(np.take_along_axis(found.distances, order, axis=1), ids)


def ordered(found: Neighbours, k: int, *, largest: bool) -> Neighbours:
    """The ``k`` nearest of each row, equal distances by ascending id.

    Args:
        found: ``(n, m)``; the id is -1 where there is none.
        k: Columns of the result; padded with -1 where there are fewer images.
        largest: True if larger distances are nearer (inner products).
    """
    worst = np.float32(-np.inf if largest else np.inf)
    keys = np.where(found.ids < 0, worst, found.distances)
    last = np.where(found.ids < 0, np.iinfo(np.int64).max, found.ids)
    order = np.lexsort((last, -keys if largest else keys))[:, :k]
    distances = np.take_along_axis(keys, order, axis=1)
    ids = np.take_along_axis(found.ids, order, axis=1)
    if (missing := k - ids.shape[1]) > 0:
        distances = np.pad(distances, ((0, 0), (0, missing)), constant_values=worst)
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=-1)
    return Neighbours(distances.astype(np.float32), ids)
