"""A store: its generations behind one interface."""

import contextlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.feature_files import FeatureFile
from activeindex.identity import ExtractorIdentity, check_extractors, same
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import Neighbours
from activeindex.runtime.closing import Closing
from activeindex.runtime.files import read_json, whole_file, write_json
from activeindex.runtime.locking import BusyError, only_run
from activeindex.runtime.pool import Engine
from activeindex.runtime.progress import Progress
from activeindex.stores.engines import Address
from activeindex.stores.generation import Features, Generation, Ids, SearchOptions, ordered
from activeindex.stores.ingest import Part, Written
from activeindex.stores.records import Batch, Record

_NOTE = "store.json"
_FORMAT = 1
_QUANTISER = "quantiser.faiss"


@dataclass(frozen=True)
class StoreNote:
    """What ``store.json`` says.

    Attributes:
        format: Of the folder.
        engine: ``faiss`` or ``lance``.
        extractor: The extractor of all features; None if the quantiser does not say.
        generations: Their folders, oldest first.
        next_id: The id of the next image.
    """

    format: int
    engine: str
    extractor: ExtractorIdentity | None
    generations: tuple[str, ...]
    next_id: int


class Store(Closing):
    """Images that are searched through the quantisers that they were released under.

    One process writes at a time; any number read, and see what is there when they ask. A killed
    writer leaves every image there whole or not at all.

    Args:
        address: ``lance://PATH`` or ``faiss:PATH`` of a store that is there.
        engine: Who writes, indexes and compacts, for ``lance://``: None for this process, which
            indexes images as they are added or when it opens what a killed one left; otherwise
            they are found once :meth:`index` was called, and no other process writes until the
            store is closed.

    Attributes:
        extractor: The extractor of all features, or None if it is not known.

    Raises:
        InputError: If there is no such store, or an engine has nothing to do for it, or is given
            while another process is writing.
        MissingExtraError: If its engine is not installed.
    """

    def __init__(self, address: str, engine: Engine | None = None) -> None:
        self._address = Address.parse(address)
        if engine is not None and self._address.engine != "lance":
            raise InputError(
                f"engine: expected a store lance://PATH, which several can write, found {address}"
            )
        self._engine = engine
        self._path = self._address.path
        self._note = self._read_note()
        self._held, self._refreshing = contextlib.ExitStack(), threading.Lock()
        if engine is not None:
            # Whoever opened the store before `index` would do its work, as that of a killed one.
            self._held.enter_context(only_run(self._path, "store"))
        self.extractor = self._note.extractor
        self._generations = [self._open(name) for name in self._note.generations]
        self._finish_killed_writes()

    @classmethod
    def create(cls, address: str, trained: TrainedIndex) -> Self:
        """Makes an empty store whose first generation is searched through ``trained``.

        Raises:
            InputError: If a store is there already, or its engine cannot use this index.
        """
        where = Address.parse(address)
        where.check(trained)
        where.path.mkdir(parents=True, exist_ok=True)
        with only_run(where.path, "store"):
            if (where.path / _NOTE).exists():
                raise InputError(
                    f"{address}: expected no store yet, found one; renew it, or add to it"
                )
            name = _write_generation(where.path, 1, trained)
            where.generation(where.path / name, trained).close()  # Made before it is named.
            write_json(
                where.path / _NOTE,
                asdict(StoreNote(_FORMAT, where.engine, trained.extractor, (name,), 0)),
            )
        return cls(address)

    def renew(self, trained: TrainedIndex) -> None:
        """Begins a generation: images are added under ``trained`` from now on.

        What is there stays, and is searched through the quantisers that it was released under.

        Raises:
            InputError: If the quantiser is there already, or is not for the same features.
        """
        with self._writing():
            self._address.check(trained)
            if self._find(trained) is not None:
                raise InputError(f"{self._address}: has a generation of {trained.identity} already")
            first = self._generations[0].trained.index
            kind, here = ((i.d, i.metric_type) for i in (trained.index, first))
            if kind != here:
                raise InputError(
                    f"{self._address}: expected a quantiser of dimension {first.d} and the same "
                    f"metric, found {trained.identity} of dimension {trained.index.d}"
                )
            if not same(trained.extractor, self.extractor):
                raise InputError(
                    f"{self._address}: expected a quantiser of features of {self.extractor}, "
                    f"found {trained.identity} of features of {trained.extractor}"
                )
            name = _write_generation(self._path, len(self._generations) + 1, trained)
            # Readers open it as soon as it is named.
            self._generations.append(self._open(name))
            self._write_note(generations=(*self._note.generations, name))

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Oldest first."""
        return tuple(self._generations)

    @property
    def dimension(self) -> int:
        """Of the features."""
        return self._generations[0].quantiser.dimension

    def generation_of(self, trained: TrainedIndex) -> Generation:
        """The generation of a quantiser.

        Raises:
            InputError: If the store has none; it names this quantiser and those of the store.
        """
        found = self._find(trained)
        if found is None:
            here = " or ".join(generation.name for generation in self._generations)
            raise InputError(
                f"{self._address}: expected the quantiser {here}, found {trained.identity}"
            )
        return found

    def check_extractor(
        self, extractor: ExtractorIdentity | None, dimension: int | None = None
    ) -> None:
        """Checks that features come from the extractor of the store, if both are known.

        Args:
            extractor: Theirs.
            dimension: Theirs; the store's by default.

        Raises:
            InputError: If they come from another one.
        """
        here = self.dimension
        check_extractors(self._address, self.extractor, extractor, (here, dimension or here))

    def add(self, batch: Batch, generation: Generation | None = None) -> Ids:
        """Adds images, all or none; those whose name is there already are left as they are.

        Args:
            batch: The images.
            generation: Which quantiser they were released under; the newest by default.

        Returns:
            The ids ``(n,)`` of the batch, old and new.

        Raises:
            ShapeError: If the features have another dimension than the store's.
            InputError: If another process is writing.
        """
        return self._add(batch, generation or self._generations[-1])[0]

    def add_parts(
        self,
        features: FeatureFile,
        parts: Sequence[Part],
        generation: Generation | None = None,
        data_dir: Path | None = None,
    ) -> Iterator[Written]:
        """Adds images of a feature file, each part all or none; names that are there are left.

        The store's engine codes and writes them, where it has one: it reads their features itself,
        and only what is known of the files that it wrote comes back.

        Args:
            features: Whose rows they are.
            parts: The images.
            generation: Which quantiser they were released under; the newest by default.
            data_dir: The originals, to hash those that have no record of activation.

        Yields:
            What became of each part, when its images are there.

        Raises:
            ShapeError: If the features have another dimension than the store's.
            InputError: If a file is missing, a name comes twice in a part, or another process is
                writing.
        """
        generation = generation or self._generations[-1]
        self._check_dimension(features.values)
        if self._engine is None:
            for part in parts:
                batch = part.batch(features.values, data_dir)
                _, new = self._add(batch, generation)
                yield _written_here(batch, new, generation)
            return
        yield from self._add_elsewhere(self._engine, features, parts, generation, data_dir)

    def _add(self, batch: Batch, generation: Generation) -> tuple[Ids, list[int]]:
        """The ids of a batch, and which of its images are new."""
        self._check_dimension(batch.features)
        with self._writing():
            there = generation.named(batch.names)
            rows = [row for row, name in enumerate(batch.names) if name not in there]
            if rows:
                first = self._note.next_id
                # Ids are taken first: after a kill some are never used, none is used twice.
                self._write_note(next_id=first + len(rows))
                ids = np.arange(first, first + len(rows), dtype=np.int64)
                new = batch if len(rows) == len(batch) else batch.take(rows)
                generation.add(ids, new)
                if self._engine is None:
                    generation.recover()
                there.update(zip(new.names, ids.tolist(), strict=True))
        return np.array([there[name] for name in batch.names], np.int64), rows

    def _add_elsewhere(
        self,
        engine: Engine,
        features: FeatureFile,
        parts: Sequence[Part],
        generation: Generation,
        data_dir: Path | None,
    ) -> Iterator[Written]:
        with self._writing():
            new = _without_those_there(parts, generation)
            firsts = accumulate((len(part) for part in new), initial=self._note.next_id)
            # Nobody starts for parts that are there.
            items = [(first, part) for first, part in zip(firsts, new, strict=False) if len(part)]
            results = zip(items, generation.write(engine, features, items, data_dir), strict=True)
            for part in new:
                if not len(part):
                    yield Written()
                    continue
                (first, _), written = next(results)
                # Ids are taken first: after a kill some are never used, none is used twice.
                self._write_note(next_id=first + len(part))
                generation.commit(written)
                yield written

    def remove(self, ids: Ids) -> int:
        """Removes images; returns how many there were.

        Raises:
            InputError: If another process is writing.
        """
        with self._writing():
            return sum(generation.remove(ids) for generation in self._generations)

    def get(self, ids: Ids) -> list[Record]:
        """The records of those ids that are there, in ascending order."""
        unique = np.unique(ids)
        found = [record for g in self._refresh() for record in g.get(unique)]
        return sorted(found, key=lambda record: record.id)

    def named(self, names: Sequence[str]) -> Ids:
        """The ids of names, in all generations, ascending."""
        found = [i for g in self._refresh() for i in g.named(names).values()]
        return np.array(sorted(found), np.int64)

    def select(self, where: str) -> Ids:
        """The ids that a filter lets through, ascending; see :class:`SearchOptions`.

        Raises:
            InputError: If the filter is malformed.
        """
        return np.sort(np.concatenate([g.select(where) for g in self._refresh()]))

    def search(
        self,
        features: Features,
        k: int = 10,
        *,
        nprobe: int = 1,
        refine: int = 0,
        where: str | None = None,
    ) -> Neighbours:
        """The ``k`` nearest images of each feature ``(n, d)``, of all generations.

        Args:
            features: Queries.
            k: Neighbours per query.
            nprobe: Inverted lists that are visited, in every generation.
            refine: 0: distances to what the codes reconstruct. ``r``: the ``r * k`` nearest codes
                are ordered by their raw features, and distances are to these.
            where: A filter in SQL; see :class:`SearchOptions`.

        Raises:
            ShapeError: If the features have another dimension than the store's.
            InputError: If an option is out of range or the filter is malformed.
        """
        self._check_dimension(features)
        options = SearchOptions(k, nprobe, refine, where)
        found = [generation.search(features, options) for generation in self._refresh()]
        if len(found) == 1:
            return found[0]
        return ordered(
            np.concatenate([part.distances for part in found], axis=1),
            np.concatenate([part.ids for part in found], axis=1),
            k,
            largest=self._generations[0].largest_first,
        )

    def index(self, progress: Progress | None = None) -> None:
        """Has the images indexed that are not yet, by the engine that the store was opened with.

        Args:
            progress: Told of every part of the index.

        Raises:
            InputError: If another process is writing.
            ActiveIndexError: If a part is another index than the quantiser's.
        """
        with self._writing():
            for generation in self._generations:
                generation.recover(self._engine, progress)

    def compact(self) -> None:
        """Rewrites the files without what was removed, and for fast searches.

        Raises:
            InputError: If another process is writing.
        """
        with self._writing():
            for generation in self._generations:
                generation.recover(self._engine)
                generation.compact(self._engine)

    def count(self) -> int:
        """How many images there are."""
        return sum(generation.count() for generation in self._refresh())

    def close(self) -> None:
        """Lets go of files, and of the right to write."""
        for generation in self._generations:
            generation.close()
        self._held.close()

    def _open(self, name: str) -> Generation:
        folder = self._path / name
        return self._address.generation(folder, TrainedIndex.read(folder / _QUANTISER))

    def _check_dimension(self, features: Features) -> None:
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise ShapeError("features", ("n", self.dimension), features.shape)

    def _find(self, trained: TrainedIndex) -> Generation | None:
        wanted = trained.identity
        return next((g for g in self._generations if same(g.trained.identity, wanted)), None)

    def _finish_killed_writes(self) -> None:
        if self._engine is not None:  # Left to `index`.
            return
        # Held by a writer, there is nothing to finish: it is not killed.
        with contextlib.suppress(BusyError), only_run(self._path, "store"):
            for generation in self._generations:
                generation.recover()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        alone = only_run(self._path, "store") if self._engine is None else contextlib.nullcontext()
        with alone:
            self._refresh()
            yield

    def _refresh(self) -> list[Generation]:
        """The generations that are there now: others may have begun some."""
        with self._refreshing:
            self._note = self._read_note()
            for name in self._note.generations[len(self._generations) :]:
                self._generations.append(self._open(name))
            return self._generations

    def _read_note(self) -> StoreNote:
        path = self._path / _NOTE
        if not path.is_file():
            raise InputError(f"{self._address}: expected a store, found no {_NOTE} there")
        value = read_json(path)
        try:
            extractor = ExtractorIdentity.from_json(value["extractor"])
            generations = tuple(value["generations"])
            note = StoreNote(**{**value, "extractor": extractor, "generations": generations})
        except (KeyError, TypeError):
            raise InputError(f"{path}: expected the note of a store") from None
        if (note.format, note.engine) != (_FORMAT, self._address.engine):
            raise InputError(
                f"{self._address}: expected a store of format {_FORMAT} and engine "
                f"{self._address.engine}, found format {note.format}, engine {note.engine}"
            )
        return note

    def _write_note(self, **changes: Any) -> None:
        self._note = replace(self._note, **changes)
        write_json(self._path / _NOTE, asdict(self._note))


def _written_here(batch: Batch, new: Sequence[int], generation: Generation) -> Written:
    recorded = batch.take([row for row in new if batch.names[row] in batch.activations])
    if not len(recorded):
        return Written(len(new))
    quantiser = generation.quantiser
    moved = recorded.moved(quantiser.encode(recorded.features), quantiser)
    return Written(len(new), recorded.activated, moved)


def _without_those_there(parts: Sequence[Part], generation: Generation) -> list[Part]:
    """Parts without the images whose names are in a generation, or in a part before."""
    seen: set[str] = set()
    left = []
    for part in parts:
        seen.update(generation.named(part.names))
        places = [place for place, name in enumerate(part.names) if name not in seen]
        new = part if len(places) == len(part) else part.take(places)
        seen.update(new.names)
        left.append(new)
    return left


def _write_generation(store: Path, number: int, trained: TrainedIndex) -> str:
    """Copies a quantiser into a store; it counts when ``store.json`` names it."""
    name = f"generation-{number:04d}"
    path = store / name / _QUANTISER
    if (store / name).exists():  # Of a run that was killed before it could name it.
        shutil.rmtree(store / name)
    if trained.manifest is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        trained.manifest.write(path.with_suffix(".json"))
    with whole_file(path) as beside:
        if trained.path is None:
            faiss.serialize_index(trained.index).tofile(beside)
        else:
            shutil.copyfile(trained.path, beside)
    return name
