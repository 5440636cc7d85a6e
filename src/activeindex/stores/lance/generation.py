"""``lance://PATH``: records on disk in a Lance data set, searched through the injected IVF-PQ."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from activeindex.errors import ActiveIndexError, InputError
from activeindex.extractors.feature_files import FeatureFile
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import Neighbours
from activeindex.runtime.files import parse_json
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.progress import Progress, Silent
from activeindex.stores.generation import TIES, Features, Generation, Ids, SearchOptions, ordered
from activeindex.stores.ingest import Part, Written
from activeindex.stores.lance.fragments import (
    FragmentJob,
    RewriteJob,
    check_lance_ray,
    record_table,
)
from activeindex.stores.lance.model import LanceModel, lance_errors, lance_library, lance_reason
from activeindex.stores.lance.segments import COLUMN, INDEX, SegmentJob
from activeindex.stores.records import Batch, Record

_FOLDER = "records.lance"
_CHECKED = 4
"""Images whose distances are compared with FAISS's after every change of the index, of each part
of it that was made elsewhere."""

_ASKED = 1 << 14  # Values in one filter.

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")
_Reading = Callable[Concatenate["LanceGeneration", _Given], _Found]


def _up_to_date(method: _Reading[_Given, _Found]) -> _Reading[_Given, _Found]:
    """Reads the newest version; once more if another process compacted that away meanwhile."""

    def asked(self: "LanceGeneration", /, *given: _Given.args, **named: _Given.kwargs) -> _Found:
        self.refresh()
        try:
            return method(self, *given, **named)
        except (OSError, RuntimeError, ValueError):
            if not self.refresh():
                raise
        return method(self, *given, **named)

    update_wrapper(asked, method)
    return asked


class LanceGeneration(Generation):
    """See :class:`Generation`; ``IVFn,PQm`` with L2 only.

    Lance indexes the rows of a data set in segments. Here every segment is made with the centroids
    and the codebook of the FAISS index, never with a model that Lance trains, and rows are found
    through a segment or not at all, never by their raw features: what an image was activated
    against is what is searched.
    """

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        super().__init__(folder, trained)
        self._model = LanceModel.of(trained)
        self._lance = lance_library()
        self._uri = str(folder / _FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _FOLDER).exists():
            self._data = self._lance.dataset(self._uri)
        else:
            codes = np.empty((0, self.quantiser.code_size), np.uint8)
            empty = record_table(np.empty(0, np.int64), Batch([], self._no_features()), codes)
            self._data = self._lance.write_dataset(empty, self._uri)

    def add(self, ids: Ids, batch: Batch) -> None:
        """Adds images, all or none."""
        table = record_table(ids, batch, self.quantiser.encode(batch.features))
        with lance_errors(self._uri):
            self._data = self._lance.write_dataset(table, self._uri, mode="append")

    def write(
        self,
        engine: Engine,
        features: FeatureFile,
        parts: Sequence[tuple[int, Part]],
        data_dir: Path | None = None,
    ) -> Iterator[Written]:
        """Has images coded and written by an engine."""
        check_lance_ray()
        job = FragmentJob(
            self._shared,
            features.path.absolute(),
            data_dir and data_dir.absolute(),
            features.values.shape,
            self.quantiser,
        )
        return engine.run(job, parts)

    def commit(self, written: Written) -> None:
        """Adds the images of a part."""
        append = self._lance.LanceOperation.Append(list(written.files))
        with lance_errors(self._uri):
            self._data = self._lance.LanceDataset.commit(
                self._uri, append, read_version=self._data.version
            )

    def recover(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Indexes the rows that no segment has: those just added, or those of a killed run.

        Raises:
            ActiveIndexError: If a segment from elsewhere is not of FAISS's index; it is taken back.
        """
        self.refresh()
        fragments = [fragment.fragment_id for fragment in self._data.get_fragments()]
        covered = {number for segment in self._segments() for number in segment.fragment_ids}
        rest = [number for number in fragments if number not in covered]
        if not rest:
            return
        job = SegmentJob(self._shared, self._data.version, self._model)
        parts = [rest] if engine is None else [[number] for number in rest]
        # Each is kept as it comes: a killed run has indexed what was committed.
        for part, segment in zip(parts, (engine or LocalEngine()).run(job, parts), strict=True):
            before = self._data.version
            with lance_errors(self._uri):
                self._data = self._data.commit_existing_index_segments(INDEX, COLUMN, [segment])
                if engine is not None:
                    self._check(before, part)
            (progress or Silent()).advance()

    def refresh(self) -> bool:
        """Takes in what other processes have written since; returns whether they did."""
        with lance_errors(self._uri):
            behind = bool(self._data.latest_version > self._data.version)
            if behind:  # Threads that ask right now keep the version that they ask.
                self._data = self._lance.dataset(self._uri, session=self._data.session())
        return behind

    def remove(self, ids: Ids) -> int:
        """Removes images."""
        before = self.count()
        with lance_errors(self._uri):
            for part in _parts(ids.tolist()):
                self._data.delete(_among("id", part))
        return before - self.count()

    @_up_to_date
    def get(self, ids: Ids) -> list[Record]:
        """The records of ids."""
        columns = ["id", "name", "sha256", "code", "activation"]
        rows = [row for part in _parts(ids.tolist()) for row in self._rows("id", part, columns)]
        return sorted(
            (
                Record(
                    row["id"],
                    row["name"],
                    row["sha256"],
                    row["code"],
                    row["activation"] and parse_json(row["activation"]),
                    self.name,
                )
                for row in rows
            ),
            key=lambda record: record.id,
        )

    @_up_to_date
    def features(self, ids: Ids) -> Features:
        """The raw features of ids."""
        found = {
            row["id"]: row["feature"]
            for part in _parts(ids.tolist())
            for row in self._rows("id", part, ["id", "feature"])
        }
        values = [found[i] for i in ids.tolist()]
        return np.array(values, np.float32) if values else self._no_features()

    @_up_to_date
    def named(self, names: Sequence[str]) -> dict[str, int]:
        """The ids of names."""
        return {
            row["name"]: row["id"]
            for part in _parts(names)
            for row in self._rows("name", part, ["name", "id"])
        }

    @_up_to_date
    def select(self, where: str) -> Ids:
        """The ids that a filter lets through."""
        with _filtering(where):
            table = self._data.to_table(columns=["id"], filter=where)
        return np.sort(table["id"].to_numpy().astype(np.int64))

    @_up_to_date
    def search(self, features: Features, options: SearchOptions) -> Neighbours:
        """The nearest images."""
        k = options.k if options.refine else options.k + TIES
        distances = np.full((len(features), k), np.inf, np.float32)
        ids = np.full((len(features), k), -1, np.int64)
        if self._segments():
            for row, feature in enumerate(features):
                with _filtering(options.where):
                    found = self._nearest(feature, k, options)
                distances[row, : len(found)] = found["_distance"].to_numpy()
                ids[row, : len(found)] = found["id"].to_numpy()
        return ordered(distances, ids, options.k, largest=False)

    def compact(self, engine: Engine | None = None) -> None:
        """One segment, few files, no removed rows, no old versions.

        Raises:
            ActiveIndexError: If the index then is another one than FAISS's; the store is put back.
        """
        self.refresh()
        before = self._data.version
        with lance_errors(self._uri):
            for _ in range(2):  # Files are merged where one segment covers them.
                if segments := self._segments():
                    # Left to itself, Lance may train another model here.
                    self._data.optimize.optimize_indices(
                        index_names=[INDEX], num_indices_to_merge=len(segments)
                    )
                    self._data = self._lance.dataset(self._uri)
                    self._check(before)
                self._compact_files(engine)
            self.recover()
            self._check(before)
            if self.count():
                for column in ("id", "name"):
                    self._data.create_scalar_index(column, "BTREE", replace=True)
            self._data = self._lance.dataset(self._uri)
            self._data.cleanup_old_versions(older_than=timedelta(0))

    @_up_to_date
    def count(self) -> int:
        """How many images there are."""
        return int(self._data.count_rows())

    def _compact_files(self, engine: Engine | None) -> None:
        if engine is None:
            self._data.optimize.compact_files()
        else:
            from lance.optimize import Compaction

            tasks = Compaction.plan(self._data, {}).tasks
            job = RewriteJob(self._shared, self._data.version)
            if rewritten := list(engine.run(job, tasks)):
                Compaction.commit(self._data, rewritten)
        self._data = self._lance.dataset(self._uri)

    @property
    def _shared(self) -> str:
        """The data set, by a name that is the same on every machine."""
        return str(Path(self._uri).absolute())

    def _check(self, before: int, fragments: Sequence[int] = ()) -> None:
        """Checks that Lance searches what FAISS coded; if not, returns to version ``before``.

        Args:
            before: Of the data set.
            fragments: Of which images are checked; of all together by default.
        """
        if not self._segments():
            return
        centroids = self._data.get_ivf_model(INDEX).centroids.values.to_numpy()
        same = np.array_equal(centroids, self._model.centroids.ravel())
        tables = [self._data.get_fragment(number) for number in fragments] or [self._data]
        if same and all(map(self._distances_agree, tables)):
            return
        self._data = self._lance.dataset(self._uri, version=before)
        self._data.restore()
        self._data = self._lance.dataset(self._uri)
        raise ActiveIndexError(
            f"{self._uri}: expected the index of {self.name}, Lance made another one; put back as "
            "it was"
        )

    def _distances_agree(self, table: Any) -> bool:
        """Whether images lie as far from their codes as FAISS says."""
        rows = table.to_table(columns=["id", "feature"], limit=_CHECKED)
        ids = rows["id"].to_pylist()
        features = np.array(rows["feature"].to_pylist(), np.float32).reshape(len(ids), -1)
        if not len(ids):
            return True
        expected = ((features - self.quantiser.reconstruct(features)) ** 2).sum(axis=1)
        for number, feature, distance in zip(ids, features, expected, strict=True):
            found = self._nearest(feature, 1, SearchOptions(k=1, where=f"id = {number}"))
            if not np.allclose(found["_distance"].to_numpy(), [distance], rtol=1e-3, atol=1e-5):
                return False
        return True

    def _nearest(self, feature: npt.NDArray[np.float32], k: int, options: SearchOptions) -> Any:
        lists = min(options.nprobe, len(self._model.centroids))
        nearest = {
            "column": "feature",
            "q": feature,
            "k": k,
            "minimum_nprobes": lists,
            "maximum_nprobes": lists,
            "refine_factor": options.refine or None,
        }
        return self._data.to_table(
            columns=["id", "_distance"],
            nearest=nearest,
            filter=options.where,
            prefilter=options.where is not None,
            fast_search=True,
        )

    def _segments(self) -> list[Any]:
        for index in self._data.describe_indices():
            if index.name == INDEX:
                return list(index.segments)
        return []

    def _rows(self, column: str, values: Sequence[Any], columns: list[str]) -> list[dict[str, Any]]:
        table = self._data.to_table(columns=columns, filter=_among(column, values))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def _no_features(self) -> Features:
        return np.empty((0, self.quantiser.dimension), np.float32)


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _ASKED):
        yield values[start : start + _ASKED]


def _among(column: str, values: Sequence[Any]) -> str:
    quoted = (
        "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
        for value in values
    )
    return f"{column} IN ({', '.join(quoted)})"


@contextlib.contextmanager
def _filtering(where: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if where is None:
            raise
        raise InputError(
            f"where {where!r}: expected a filter in SQL ({lance_reason(error)})"
        ) from None
