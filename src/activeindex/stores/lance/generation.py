"""Engine of ``lance://PATH``: a data set on disk, searched through an injected IVF-PQ index."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt

from activeindex.errors import ActiveIndexError
from activeindex.extractors.feature_files import FeatureFile
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import Neighbours
from activeindex.runtime.files import sync_folder
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import Progress
from activeindex.stores.checksums import (
    CHECKSUMS_FILE,
    Sums,
    check_ends,
    read_sums,
    sums_of,
    write_sums,
)
from activeindex.stores.filters import Filter
from activeindex.stores.generation import Generation, Ids
from activeindex.stores.ingest import Added, CodedPart, NewImages, Part
from activeindex.stores.lance.jobs import (
    COLUMN,
    INDEX,
    FragmentJob,
    RewriteJob,
    SegmentJob,
    check_lance_ray,
    record_table,
)
from activeindex.stores.lance.model import LanceModel, lance_errors, lance_library

_FOLDER = "records.lance"

_CHECKED = 4
"""Images whose distances are compared with FAISS's after every change of the index, of each part
that was made by an engine."""

_VALUES = 1 << 14
"""Values in one filter."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _up_to_date(method: _Method) -> _Method:
    """Read the newest version; once more if another process compacts that away meanwhile."""

    @wraps(method)
    def read(self: "LanceGeneration", *given: Any, **named: Any) -> Any:
        self.refresh()
        try:
            with lance_errors(self._uri):
                return method(self, *given, **named)
        except ActiveIndexError:
            if not self.refresh():
                raise
        with lance_errors(self._uri):
            return method(self, *given, **named)

    return cast(_Method, read)


class LanceGeneration(Generation):
    """:class:`Generation` in a Lance data set; ``IVFn,PQm`` with L2 only.

    Lance indexes the rows of a data set in segments. Every segment is made with the centroids and
    the codebook of the FAISS index, never with a model that Lance trains, and rows are found
    through a segment or not at all, never by their features: images are searched through the codes
    that they were activated for.
    """

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        super().__init__(folder, trained)
        self._model = LanceModel.of(trained)
        self._lance = lance_library()
        self._root = folder / _FOLDER
        self._uri = str(self._root)
        # Rust prints lines of its own about damaged files, so they are found before it reads them.
        sealed = self._sealed() if (folder / CHECKSUMS_FILE).is_file() else {}
        newest = max(map(_version, sealed), default=0)
        check_ends(folder, {name: it for name, it in sealed.items() if _version(name) == newest})
        try:
            with lance_errors(self._uri):
                self._data = self._lance.dataset(self._uri)
        except ActiveIndexError:
            if not newest:
                raise
            # A power loss has cut the newest version off before it was sealed.
            with lance_errors(self._uri):
                self._data = self._lance.dataset(self._uri, version=newest)
        needed = self._needed(self._data) if sealed else set()
        check_ends(folder, {name: it for name, it in sealed.items() if name in needed})
        self._columns = tuple(self._data.schema.names)
        self.schema = 2 if "checksum" in self._columns else 1
        self._turn = threading.Lock()
        self._disabled: tuple[int, npt.NDArray[np.float64]] = (-1, np.empty((0, 2)))
        """Ids and times of the images that were disabled, and the version that they are of."""

    @classmethod
    def create(cls, folder: Path, trained: TrainedIndex) -> Self:
        """Make a data set without rows."""
        cls.check(trained)
        features = np.empty((0, trained.quantiser.dimension), np.float32)
        codes = np.empty((0, trained.quantiser.code_size), np.uint8)
        empty = record_table(CodedPart.of(np.empty(0, np.int64), {}, features, codes))
        uri = str(folder / _FOLDER)
        with lance_errors(uri):
            lance_library().write_dataset(empty, uri)
        files = (path for path in folder.iterdir() if path.is_file())
        write_sums(folder, {path.name: sums_of(path) for path in files})
        made = cls(folder, trained)
        made._seal()
        return made

    @staticmethod
    def check(trained: TrainedIndex) -> None:
        """Check that Lance is installed and has an index of this kind."""
        lance_library()
        LanceModel.of(trained)

    def write(
        self,
        images: NewImages,
        parts: Sequence[tuple[int, Part]],
        data_dir: Path | None = None,
        engine: Engine | None = None,
    ) -> Iterator[tuple[Added, CodedPart | list[Any]]]:
        """Code images; an engine writes the fragments of those of a feature file, too."""
        if engine is None or not isinstance(images.source, FeatureFile):
            yield from super().write(images, parts, data_dir)
            return
        check_lance_ray()
        job = FragmentJob(
            self._shared,
            images.source.path.absolute(),
            data_dir and data_dir.absolute(),
            images.features.shape,
            self.quantiser,
            self._columns,
        )
        yield from engine.run(job, parts)

    def commit(self, written: CodedPart | list[Any]) -> None:
        """Append rows, or fragments, in one version of the data set."""
        with lance_errors(self._uri):
            if isinstance(written, CodedPart):
                table = record_table(written).select(self._columns)
                self._take(self._lance.write_dataset(table, self._uri, mode="append"))
            else:
                appended = self._lance.LanceOperation.Append(written)
                version = self._data.version
                self._take(
                    self._lance.LanceDataset.commit(self._uri, appended, read_version=version)
                )
        self._seal()

    def unfinished(self, engine: Engine | None = None) -> bool:
        """True if there are files that are not sealed, or images that are not indexed."""
        if self.schema > 1 and self._files().keys() != self._sealed().keys():
            return True
        return engine is None and bool(self._uncovered())

    def finish(self, engine: Engine | None = None) -> None:
        """Take back what was not sealed, and index the images that are there."""
        if self.schema > 1:
            sealed = max(map(_version, self._sealed()))
            newest = max(map(_version, self._files()))
            with lance_errors(self._uri):
                if newest > sealed:
                    for name, path in self._files().items():
                        if _version(name) > sealed and not self._opens(_version(name)):
                            path.unlink()  # Cut off by a power loss.
                    self._lance.dataset(self._uri, version=sealed).restore()
                    self._take(self._newest())
                self._seal()
                self._remove_old()
        if engine is None:
            self.index()

    def check_files(self, *, full: bool) -> Iterator[str]:
        """Check with ``full`` that the index has the centroids of FAISS, and finds all images."""
        if full and self._segments():
            with lance_errors(self._uri):
                if not self._has_our_model():
                    yield f"{self._uri}: expected an index of {self.identity}, found another one"
                if self._uncovered():
                    yield f"{self._uri}: expected an index of all images, found one of some"

    def _has_our_model(self) -> bool:
        centroids = self._data.get_ivf_model(INDEX).centroids.values.to_numpy()
        return np.array_equal(centroids, self._model.centroids.ravel())

    def _opens(self, version: int) -> bool:
        try:
            with lance_errors(self._uri):
                self._lance.dataset(self._uri, version=version)
        except ActiveIndexError:
            return False
        return True

    def _files(self) -> dict[str, Path]:
        """Files of the data set by their names in the folder."""
        found = {}
        for folder, _, names in os.walk(self._root):  # Passes over what is removed meanwhile.
            for path in (Path(folder) / name for name in names):
                found[path.relative_to(self.folder).as_posix()] = path
        return found

    def _sealed(self) -> Sums:
        """Checksums of the files that are known to be on the disk."""
        sums = read_sums(self.folder)
        return {name: each for name, each in sums.items() if name.startswith(f"{_FOLDER}/")}

    def _needed(self, data: Any) -> set[str]:
        """Names of the files of a version, as in the checksums."""
        with lance_errors(self._uri):
            tracked = data.tracked_files(min_version=data.version).read_all()
            return {f"{_FOLDER}/{name}" for name in tracked["path"].to_pylist()}

    def _seal(self) -> None:
        """Flush the files of the newest version, which Lance does not, and note their checksums.

        What is not sealed was not acknowledged, and is taken back after a kill or a power loss.
        """
        if self.schema == 1:
            return
        # Transactions are for others that write meanwhile, and the hint saves listing a folder.
        for needless in ("_transactions/*", "_versions/*.json"):
            for path in self._root.glob(needless):
                path.unlink()
        files, sums = self._files(), read_sums(self.folder)
        for name in {*self._sealed()} - {*files}:
            del sums[name]
        new = {name: path for name, path in files.items() if name not in sums}
        for path in new.values():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for folder in {each for path in new.values() for each in (path.parent, path.parent.parent)}:
            sync_folder(folder)
        write_sums(self.folder, sums | {name: sums_of(path) for name, path in new.items()})

    def _remove_old(self) -> None:
        """Remove the files that the newest version does not need."""
        newest = self._newest()
        if self.schema > 1:  # After a kill in between, no check misses what was to go.
            sums = read_sums(self.folder)
            for name in {*self._sealed()} - self._needed(newest):
                del sums[name]
            write_sums(self.folder, sums)
        newest.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        self._seal()

    def index(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Index the fragments that no segment covers: new ones, and those of a killed process."""
        rest = self._uncovered()
        if not rest:
            return
        job = SegmentJob(self._shared, self._data.version, self._model)
        parts = [rest] if engine is None else [[number] for number in rest]
        # Each segment is committed at once, and kept if this process is killed.
        for part, segment in zip(parts, (engine or LocalEngine()).run(job, parts), strict=True):
            before = self._data.version
            with lance_errors(self._uri):
                data = self._newest()
                self._take(data.commit_existing_index_segments(INDEX, COLUMN, [segment]))
                if engine is not None:
                    self._check(before, part)
            self._seal()
            if progress is not None:
                progress.advance()

    def _uncovered(self) -> list[int]:
        """Fragments of the newest version that no segment covers."""
        self.refresh()
        with lance_errors(self._uri):
            fragments = [fragment.fragment_id for fragment in self._data.get_fragments()]
            covered = {number for segment in self._segments() for number in segment.fragment_ids}
        return [number for number in fragments if number not in covered]

    def refresh(self) -> bool:
        """Open the newest version; returns False if that is open already."""
        with lance_errors(self._uri):
            behind = bool(self._data.latest_version > self._data.version)
            if behind:  # Threads that read right now keep the version that they read.
                self._take(self._newest())
        return behind

    def _newest(self) -> Any:
        """The newest version, for one thread: Lance lets nobody read what it changes."""
        return self._lance.dataset(self._uri, session=self._data.session())

    def _take(self, data: Any) -> None:
        """Use a version from now on, unless another thread has taken a newer one."""
        with self._turn:
            if data.version > self._data.version:
                self._data = data

    def delete(self, ids: Sequence[int]) -> None:
        """Mark rows as deleted."""
        with lance_errors(self._uri):
            data = self._newest()
            for condition in _conditions("id", ids):
                data.delete(condition)
        self._take(data)
        self._seal()

    def replace(self, part: CodedPart) -> None:
        """Write the rows anew, and index them."""
        with lance_errors(self._uri):
            data = self._newest()
            table = record_table(part).select(self._columns)
            data.merge_insert("id").when_matched_update_all().execute(table)
            self._take(self._newest())
        self._seal()
        self.index()

    @_up_to_date
    def rows(
        self, columns: Sequence[str], column: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Read rows of the newest version."""
        there = [name for name in columns if name in self._columns]
        found: list[tuple[Any, ...]] = []
        for condition in _conditions(column, values):
            table = self._data.to_table(columns=there, filter=condition)
            nothing = [None] * len(table)
            read = {name: _values(table[name]) for name in there}
            found += zip(*(read.get(name, nothing) for name in columns), strict=True)
        return found

    @_up_to_date
    def ids(self) -> Ids:
        """All ids, ascending."""
        found: Ids = np.sort(np.asarray(self._data.to_table(columns=["id"])["id"], np.int64))
        return found

    @_up_to_date
    def disabled(self) -> Ids:
        """Ids that no search finds now."""
        version, found = self._disabled
        if self.schema > 1 and version != self._data.version:
            version = self._data.version
            table = self._data.to_table(
                columns=["id", "disabled_until"], filter="disabled_until IS NOT NULL"
            )
            found = np.column_stack([column.to_numpy() for column in table.columns])
            self._disabled = version, found
        hidden: Ids = found[found[:, 1] > time.time(), 0].astype(np.int64)
        return hidden

    @_up_to_date
    def select(self, where: Filter) -> Ids:
        """Ids that match a filter."""
        table = self._data.to_table(columns=["id"], filter=where.for_lance())
        return np.sort(table["id"].to_numpy().astype(np.int64))

    @_up_to_date
    def candidates(
        self, features: Features, count: int, nprobe: int, refine: int, where: Filter | None
    ) -> Neighbours:
        """Search one feature after the other; Lance refines by itself."""
        condition = None if where is None else where.for_lance()
        distances = np.full((len(features), count), np.inf, np.float32)
        ids = np.full((len(features), count), -1, np.int64)
        if self._segments():
            for row, feature in enumerate(features):
                found = self._nearest(feature, count, nprobe, refine, condition)
                distances[row, : len(found)] = found["_distance"].to_numpy()
                ids[row, : len(found)] = found["id"].to_numpy()
        return Neighbours(distances, ids)

    def compact(self, engine: Engine | None = None) -> None:
        """Leave one segment, few files, no deleted rows and no old versions.

        Raises:
            ActiveIndexError: If the index then is not FAISS's; the store is restored.
        """
        self.refresh()
        before = self._data.version
        with lance_errors(self._uri):
            for _ in range(2):  # Lance merges the files that one segment covers.
                if segments := self._segments():
                    # Without these arguments Lance may train another model.
                    self._newest().optimize.optimize_indices(
                        index_names=[INDEX], num_indices_to_merge=len(segments)
                    )
                    self._take(self._newest())
                    self._check(before)
                self._compact_files(engine)
            self.index()
            self._check(before)
            if self.count():
                for column in ("id", "name"):
                    self._newest().create_scalar_index(column, "BTREE", replace=True)
            self._take(self._newest())
            self._seal()
            self._remove_old()

    @_up_to_date
    def count(self) -> int:
        """Number of images."""
        return int(self._data.count_rows())

    def close(self) -> None:
        """Do nothing: Lance keeps no files open."""

    def _compact_files(self, engine: Engine | None) -> None:
        data = self._newest()
        if engine is None:
            data.optimize.compact_files()
        else:
            from lance.optimize import Compaction

            tasks = Compaction.plan(data, {}).tasks
            job = RewriteJob(self._shared, data.version)
            if rewritten := list(engine.run(job, tasks)):
                Compaction.commit(data, rewritten)
        self._take(self._newest())

    @property
    def _shared(self) -> str:
        """Name of the data set that is the same on every machine."""
        return str(Path(self._uri).absolute())

    def _check(self, before: int, fragments: Sequence[int] = ()) -> None:
        """Check that Lance searches the codes of FAISS; if not, restore version ``before``.

        Args:
            before: Version of the data set.
            fragments: Fragments of which images are compared; by default all as one.
        """
        if not self._segments():
            return
        tables = [self._data.get_fragment(number) for number in fragments] or [self._data]
        if self._has_our_model() and all(map(self._distances_agree, tables)):
            return
        self._lance.dataset(self._uri, version=before).restore()
        self._take(self._newest())
        raise ActiveIndexError(
            f"{self._uri}: expected the index of {self.identity}, Lance made another one; put back "
            "as it was"
        )

    def _distances_agree(self, table: Any) -> bool:
        """Compare the distances of a few images to their own codes with FAISS's."""
        rows = table.to_table(columns=["id", "feature"], limit=_CHECKED)
        ids = rows["id"].to_pylist()
        features = np.array(rows["feature"].to_pylist(), np.float32).reshape(len(ids), -1)
        if not len(ids):
            return True
        expected = ((features - self.quantiser.reconstruct(features)) ** 2).sum(axis=1)
        for number, feature, distance in zip(ids, features, expected, strict=True):
            found = self._nearest(feature, 1, where=f"id = {number}")
            if not np.allclose(found["_distance"].to_numpy(), [distance], rtol=1e-3, atol=1e-5):
                return False
        return True

    def _nearest(
        self,
        feature: npt.NDArray[np.float32],
        k: int,
        nprobe: int = 1,
        refine: int = 0,
        where: str | None = None,
    ) -> Any:
        lists = min(nprobe, len(self._model.centroids))
        nearest = {
            "column": COLUMN,
            "q": feature,
            "k": k,
            "minimum_nprobes": lists,
            "maximum_nprobes": lists,
            "refine_factor": refine or None,
        }
        return self._data.to_table(
            columns=["id", "_distance"],
            nearest=nearest,
            filter=where,
            prefilter=where is not None,
            fast_search=True,
        )

    def _segments(self) -> list[Any]:
        for index in self._data.describe_indices():
            if index.name == INDEX:
                return list(index.segments)
        return []


def _version(name: str) -> int:
    """Version of a manifest; 0 for other files."""
    stem, _, suffix = Path(name).name.partition(".")
    return (1 << 64) - 1 - int(stem) if suffix == "manifest" else 0


def _values(column: Any) -> list[Any]:
    """Values of a column; features are bytes."""
    if not hasattr(column.type, "list_size"):
        return list(column.to_pylist())
    array = column.combine_chunks()
    size = array.type.list_size
    flat = array.values.to_numpy(zero_copy_only=False)[
        array.offset * size : (array.offset + len(array)) * size
    ]
    rows = np.ascontiguousarray(flat, "<f4").reshape(len(array), size)
    there = array.is_valid().to_pylist()
    return [row.tobytes() if valid else None for row, valid in zip(rows, there, strict=True)]


def _conditions(column: str, values: Sequence[Any]) -> Iterator[str]:
    """Yield filters in SQL that together let through the rows with these values."""
    for part in batches_of(values, _VALUES):
        quoted = (
            "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
            for value in part
        )
        yield f"{column} IN ({', '.join(quoted)})"
