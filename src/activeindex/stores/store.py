"""The store: its generations behind one interface."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.decisions.calibration import CALIBRATION_FILE, Calibration
from activeindex.decisions.decision import MATCH, REVIEW
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.identity import ExtractorIdentity, check_extractors, same
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.packaged import FOLDER, packaged_index
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import EFFORT, Neighbours, Visit, lists_within
from activeindex.runtime.files import make_folder, read_json, whole_file, write_json, writing
from activeindex.runtime.locking import BusyError, only_run
from activeindex.runtime.pool import Engine
from activeindex.runtime.reporting import SILENT, Progress, Reporter
from activeindex.stores.address import STORE_FILE, Address
from activeindex.stores.checksums import differing, read_checked, read_sums, write_checked
from activeindex.stores.filters import Filter, parse_filter
from activeindex.stores.generation import Generation, Ids, distinct, id_batches, ordered
from activeindex.stores.ingest import (
    Addable,
    Added,
    CodedPart,
    NewImages,
    Part,
    PathLike,
    changed_since,
    check_once,
    of_views,
    read_images,
    stored_value,
)
from activeindex.stores.migrate import MOST_LOST, Migration, Recoding
from activeindex.stores.query import QueryResults, answers
from activeindex.stores.records import CHANGEABLE, FILTERABLE, FILTERABLE_2, Record

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor
    from activeindex.extractors.coerce import ExtractorLike
    from activeindex.images.coerce import Images

_FORMAT = 2
_KEYS = {"format", "engine", "extractor", "generations", "next_id"}
"""Keys of ``store.json``: ``extractor`` of all features, null if the quantiser does not name it;
``generations``, their folders, oldest first; ``next_id``, of the next image. Since format 2 also
``second_extractor``, of the second features, or null; ``removing``, ids of a removal from several
generations, or an addition of several codes, that has begun; ``views``, folders of the generations
of views of a generation's images, by its own; and ``checksum``."""

_QUANTISER = "quantiser.faiss"

_CREATING = 10.0
"""Seconds to wait for another process that is making the same store."""

TrainedLike: TypeAlias = TrainedIndex | PathLike
"""A trained index, or its folder or file."""


class Store(contextlib.AbstractContextManager["Store"]):
    """Images that are searched through the quantisers that they were released under.

    One process writes at a time; any number read, and see what is there when they ask. A killed
    writer leaves every image there whole or not at all.

    Args:
        address: ``faiss:PATH`` or ``lance://PATH`` of an existing store, or its folder.
        engine: Executor that writes, indexes and compacts a ``lance://`` store, e.g. a cluster.
            Images are then found after :meth:`index`, and no other process writes until the store
            is closed. None: this process, which indexes images as it adds them, and on opening
            those that a killed process left.

    Attributes:
        extractor: Identity of the extractor of all features; None if it is not known.
        generations: Generations, oldest first.
        wait: Seconds that a change waits for another process that is writing; 0 refuses at once.

    Raises:
        InputError: If there is no such store, or an engine is given for a ``faiss:`` store or while
            another process is writing.
        MissingExtraError: If Lance is needed and not installed.

    Example:
        >>> with Store.create("faiss:store") as store:  # doctest: +SKIP
        ...     print(store.add("RELEASED"))
        ...     print(store.search("SUSPECTS", k=3))
    """

    def __init__(self, address: PathLike, engine: Engine | None = None) -> None:
        self._address = Address.parse(address)
        if engine is not None and self._address.engine != "lance":
            raise InputError(
                f"engine: expected a store lance://PATH, which several can write, found {address}"
            )
        self._engine = engine
        self.wait = 0.0
        self._path = self._address.path
        self._note = read_note(self._address)
        self._seen: tuple[int, ...] | None = None
        self.extractor = ExtractorIdentity.from_json(
            self._note["extractor"], where=self._path / STORE_FILE
        )
        self._opened: dict[str, Generation] = {}
        self.generations: tuple[Generation, ...] = ()
        self._held, self._refreshing = contextlib.ExitStack(), threading.Lock()
        self._turn, self._wrote = threading.Lock(), False
        try:
            if engine is not None:
                # A process that opens the store before `index` must not index instead.
                self._held.enter_context(only_run(self._path, "store"))
            self._refresh()
            self._finish_killed_writes()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, address: PathLike, index: TrainedLike | None = None) -> Self:
        """Make an empty store, whose first generation is searched through an index.

        Args:
            address: ``faiss:PATH`` or ``lance://PATH``; a path alone is one of ``faiss:``.
            index: A trained index, or its folder or file; by default the one that this package
                ships. It is copied into the store.

        Raises:
            InputError: If a store is there already, or its engine cannot use this index.
        """
        where, trained = Address.parse(address, create=True), as_trained(index)
        where.generation_class.check(trained)
        with writing(where.path):
            make_folder(where.path)
        with only_run(where.path, "store", _CREATING):
            if (where.path / STORE_FILE).exists():
                raise InputError(
                    f"{address}: expected no store yet, found one; renew it, or add to it"
                )
            # The generation is complete before the store names it.
            name = _create_generation(where, (), trained)
            note = {
                "format": _FORMAT,
                "engine": where.engine,
                "extractor": trained.extractor and trained.extractor.as_json(),
                "second_extractor": None,
                "generations": [name],
                "next_id": 0,
                "removing": [],
            }
            write_checked(where.path / STORE_FILE, note)
        return cls(str(where))

    def renew(self, index: TrainedLike | None = None) -> None:
        """Begin a generation: from now on images are added under another index.

        Images that are there stay, and are searched through their own quantisers. Without an index
        it is the one that this package ships. Nothing happens if the generation has been begun
        already, and is still empty: a killed command is repeated.

        Raises:
            InputError: If the store has the quantiser already, or it is for other features.
        """
        trained = as_trained(index)
        with self._writing():
            self._check_schema("renewed")
            if (found := self._find(trained)) is not None:
                if found is self.generations[-1] is not self.generations[0] and not found.count():
                    return
                raise InputError(f"{self._address}: has a generation of {trained.identity} already")
            self._check_fits(trained)
            name = _create_generation(self._address, folders(self._note), trained)
            # Readers open it as soon as it is named.
            self._write_note(generations=[*self._note["generations"], name])
            self._refresh()

    def upgrade(self, reporter: Reporter = SILENT) -> int:
        """Convert a store of an older format; killed, it is as it was, and can be called again.

        Every generation is written anew beside the old one, with checksums, and the store names
        the new ones at once. Until then the disk holds both.

        Args:
            reporter: Reports progress, by images.

        Returns:
            The format that it had.

        Raises:
            InputError: If an image is damaged, or another process is writing.
        """
        with self._writing():
            had, old = int(self._note["format"]), list(self._note["generations"])
            if had == _FORMAT:
                return had
            new: list[str] = []
            total = sum(generation.count() for generation in self.generations)
            with reporter.stage("upgrade", total) as progress:
                for each in self.generations:
                    parts = (each.part(ids) for ids in id_batches(each.ids()))
                    made = self._rewrite((*old, *new), each.trained, parts, progress)
                    made.close()
                    new.append(made.folder.name)
            self._write_note(format=_FORMAT, generations=new, second_extractor=None, removing=[])
            self._refresh()
            self._remove_unnamed()
            return had

    def migrate(
        self,
        index: TrainedLike | None = None,
        released: PathLike | None = None,
        *,
        most_lost: float = MOST_LOST,
        force: bool = False,
        extractor: "ExtractorLike" = None,
        reporter: Reporter = SILENT,
    ) -> Migration:
        """Code all images anew under one index, and retire the other generations.

        The new code of an activated picture is that of its released file, which its copies look
        like; that of the original is found less often than if nothing had been activated. Ids,
        records, tags and metadata stay, and so do the codes of images that the index had already.
        Before the other generations are retired, a forecast searches both for edited copies of the
        store's own pictures. Killed, the store is as it was, and the call can be repeated.

        Args:
            index: The index; by default that of the newest generation.
            released: Folder of the released files, for the forecast, and for features of released
                pictures that the store does not have.
            most_lost: Largest loss of R@1 in the forecast; if it is more, nothing is changed.
            force: Change the store without a forecast; released pictures without a feature or a
                file keep the feature of the original.
            extractor: As of :meth:`search`.
            reporter: Reports the progress, by images.

        Raises:
            InputError: If the index does not fit the store, the forecast is worse than
                ``most_lost`` or cannot be made, two generations have an image of the same name, or
                another process is writing.

        Example:
            >>> store.migrate("NEW_INDEX", "PICTURES_released")  # doctest: +SKIP
            Migration(count=12, forecast=Forecast(...))
        """
        trained = self.generations[-1].trained if index is None else as_trained(index)
        with self._writing(), contextlib.ExitStack() as held:
            self._check_schema("migrated")
            self._check_fits(trained)
            there, old = self._find(trained), self.generations
            if old == (there,):
                return Migration(0)
            folder = None if released is None else Path(released)
            recoding = Recoding(folder, lambda: self._extractor(extractor))
            total = sum(each.count() for each in old)
            held.callback(self._remove_unnamed)  # The new one, unless the store names it.
            with reporter.stage("migrate", total) as progress:
                parts = recoding.parts(old, there, trained, force=force)
                made = [self._rewrite(folders(self._note), trained, parts, progress)]
                held.callback(made[0].close)
                for views in zip_longest(*map(self._views_of, old)):
                    own = None if there is None else views[old.index(there)]
                    some = [each for each in views if each is not None]
                    parts = recoding.parts(some, own, trained, force=force)
                    names = [*folders(self._note), *(each.folder.name for each in made)]
                    made.append(self._rewrite(names, trained, parts, Progress()))
                    held.callback(made[-1].close)
            forecast = None if force else recoding.forecast(self, made, there, reporter)
            if forecast is not None and forecast.lost > most_lost:
                raise InputError(
                    f"{self._address}: expected to lose {most_lost} of R@1 at most (--most_lost), "
                    f"found {forecast}; nothing is changed, and `activeindex store renew` begins a "
                    "generation beside those that are there"
                )
            name, *besides = (each.folder.name for each in made)
            self._write_note(generations=[name], views={name: besides} if besides else {})
            self._refresh()
            return Migration(total - (0 if there is None else there.count()), forecast)

    def _rewrite(
        self,
        there: Sequence[str],
        trained: TrainedIndex,
        parts: Iterable[CodedPart],
        progress: Progress,
    ) -> Generation:
        """Write a generation of parts whose ids ascend; the store does not name it yet."""
        name = _create_generation(self._address, there, trained)
        made = open_generation(self._address, name, {**self._note, "format": _FORMAT})
        with contextlib.ExitStack() as failed:
            failed.callback(made.close)
            for part in parts:
                made.commit(part)
                progress.advance(len(part.ids))
            made.index()
            made.compact()
            source = self._find(trained)
            if source and (calibration := source.folder / CALIBRATION_FILE).is_file():
                with whole_file(made.folder / CALIBRATION_FILE) as beside:
                    shutil.copyfile(calibration, beside)
            failed.pop_all()
        return made

    @property
    def format(self) -> int:
        """Format of the store: 2, or 1 for one of release 0.1 or 0.2 that was not upgraded."""
        return int(self._note["format"])

    @property
    def _all(self) -> tuple[Generation, ...]:
        """Generations, and those with codes of views of the same images."""
        return tuple(self._opened.values())

    @property
    def dimension(self) -> int:
        """Dimension of the features."""
        return self.generations[0].quantiser.dimension

    def generation_of(self, index: TrainedLike) -> Generation:
        """The generation of an index.

        Raises:
            InputError: If the store has none; it names this quantiser and those of the store.
        """
        trained = as_trained(index)
        found = self._find(trained)
        if found is None:
            here = " or ".join(str(generation.identity) for generation in self.generations)
            raise InputError(
                f"{self._address}: expected the quantiser {here}, found {trained.identity}"
            )
        return found

    def check_extractor(
        self, extractor: ExtractorIdentity | None, dimension: int | None = None
    ) -> None:
        """Check that features come from the extractor of the store, if both are known.

        Args:
            extractor: Their extractor.
            dimension: Their dimension; the store's by default.

        Raises:
            InputError: If they come from another one.
        """
        here = self.dimension
        check_extractors(self._address, self.extractor, extractor, (here, dimension or here))

    def add(
        self,
        images: Addable,
        names: Sequence[str] | PathLike | None = None,
        *,
        activation: Mapping[str, Mapping[str, Any]] | PathLike | None = None,
        released_features: npt.ArrayLike | None = None,
        second_features: "ImageFeatures | None" = None,
        thumbnails: Sequence[bytes | None] | None = None,
        tags: Sequence[Sequence[str] | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        view_features: npt.ArrayLike | None = None,
        index: TrainedLike | None = None,
        data_dir: PathLike | None = None,
        force: bool = False,
        reporter: Reporter = SILENT,
    ) -> Added:
        """Add images; those whose name is there already are left as they are.

        Images are added in parts of 65,536, each whole or not at all: killed and called again with
        the same arguments, it goes on where it was.

        Args:
            images: What ``activate`` returned; the folder that it or ``extract_fts`` wrote, or a
                feature file; or features ``(n, d)`` of the *originals*: an array, or what
                ``extract`` or ``read_features`` returned.
            names: Names of the images, or a file with one per line; by default those that lie
                beside the features, or that ``activate`` or ``extract`` returned.
            activation: Activation records by name, or their file ``activation.jsonl``; by default
                those in the folder.
            released_features: Features ``(n, d)`` of the *released* pictures, in the order of the
                images.
            second_features: Features ``(n, e)`` of the originals from a second extractor, the same
                in the whole store.
            thumbnails: A small copy of each original, the bytes of an image file; None for none.
            tags: Words for each image.
            metadata: Other values for each image, as JSON has them.
            view_features: Features ``(n, v, d)`` of edited views of the published pictures, whose
                codes lead to the images, too.
            index: The index that the images were, or will be, activated for, where that is not the
                newest generation's.
            data_dir: Folder of the originals, to hash those that have no activation record.
            force: Take features of another extractor than the store's, of other views than the
                images were activated for, and records of another quantiser.
            reporter: Reports progress.

        Raises:
            ShapeError: If the features have another dimension than the store's.
            InputError: If images, names and records do not fit each other or the store, a file is
                missing, or another process is writing.
        """
        generation = self.generations[-1] if index is None else self.generation_of(index)
        new = read_images(self, generation, images, names, activation, force)
        self._check_dimension(new.features)
        more: dict[str, Any] = {"thumbnail": thumbnails, "tags": tags, "metadata": metadata}
        if released_features is not None:
            more["released_feature"] = released = np.asarray(released_features, np.float32)
            self._check_dimension(released)
            if not np.isfinite(released).all():
                raise InputError("released_features: expected finite values, found NaN or infinity")
        if second_features is not None:
            more["second_feature"] = second_features.values
        views = self._checked_views(view_features, new)
        more = {name: each for name, each in more.items() if each is not None}
        new = replace(new, more={**new.more, **more})
        if new.more:
            self._check_schema("given more than features and records")
        with reporter.stage("store", len(new)) as progress, self._writing():
            if second_features is not None:
                self._note_second(second_features)
            besides = self._views_of(generation, len(views))
            added, parts = self._new_parts(new, generation)
            results = generation.write(
                new,
                [(first, part) for first, part, _ in parts if len(part)],
                None if data_dir is None else Path(data_dir),
                self._engine,
            )
            for first, part, size in parts:
                if len(part):
                    result, written = next(results)
                    # Ids are reserved first: after a kill some are never used, none is used twice.
                    # A kill before the last code is there takes the part back.
                    ids = [*range(first, first + len(part))] if besides else []
                    note = {"next_id": first + len(part)}
                    self._write_note(**note, **({"removing": ids} if ids else {}))
                    generation.commit(written)
                    if self._engine is None:
                        generation.index()
                    for beside, features in zip(besides, views, strict=True):
                        beside.commit(of_views(written, part, features, beside))
                        beside.index()
                    if besides:
                        self._write_note(removing=[])
                    added.count += result.count
                    added.activated += result.activated
                    added.moved += result.moved
                progress.advance(size)
        return added

    def _checked_views(self, given: npt.ArrayLike | None, new: NewImages) -> Features:
        """Features ``(v, n, d)`` of views of new images."""
        if given is None:
            return np.empty((0, *new.features.shape), np.float32)
        views = np.asarray(given, np.float32)
        if views.ndim != 3 or views.shape[::2] != new.features.shape:
            raise ShapeError("view_features", (len(new), "v", self.dimension), views.shape)
        if not np.isfinite(views).all():
            raise InputError("view_features: expected finite values, found NaN or infinity")
        if self._engine is not None:
            raise InputError("view_features: expected none in a store with an engine, found some")
        self._check_schema("given views")
        return views.swapaxes(0, 1)

    def _views_of(self, generation: Generation, count: int | None = None) -> tuple[Generation, ...]:
        """Generations of views of a generation's images: all, or as many as are asked for."""
        views = dict(self._note.get("views", {}))
        own = views.get(generation.folder.name, [])
        while len(own) < (count or 0):
            there = folders({**self._note, "views": views})
            own = [*own, _create_generation(self._address, there, generation.trained)]
            views[generation.folder.name] = own
        if views != self._note.get("views", {}):
            self._write_note(views=views)
            self._refresh()
        return tuple(self._opened[name] for name in own[:count])

    def _new_parts(
        self, new: NewImages, generation: Generation
    ) -> tuple[Added, list[tuple[int, Part, int]]]:
        """First id, images that are not there yet, and size before, of each part of new images."""
        added, ids, first = Added(), dict[str, int](), int(self._note["next_id"])
        parts: list[tuple[int, Part, int]] = []
        for part in new.parts():
            names = [image.name for image in part]
            check_once(names)
            there = generation.named(names)
            added.others += changed_since(part, generation, there)
            ids.update(there)
            left = [image for image in part if image.name not in ids]
            ids.update((image.name, first + place) for place, image in enumerate(left))
            parts.append((first, left, len(part)))
            first += len(left)
        added.there = len(new) - first + self._note["next_id"]
        added.ids = [ids[name] for name in new.names]
        return added, parts

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove images; returns how many of the ids there were.

        Raises:
            InputError: If another process is writing.
        """
        numbers = np.unique(_as_ids(ids))
        with self._writing():
            asked = ("id",), "id", numbers.tolist()
            there = sum(len(generation.rows(*asked)) > 0 for generation in self._all)
            if there > 1 and self.format > 1:
                self._write_note(removing=numbers.tolist())  # A kill leaves it to be finished.
            before = self.count()
            for generation in self._all:
                generation.remove(numbers)
            removed = before - self.count()
            if there > 1 and self.format > 1:
                self._write_note(removing=[])
            return removed

    def update(self, number: int, **changes: Any) -> Record:
        """Change what was given to an image; the next search sees it.

        Args:
            number: Id of the image.
            changes: New values of any of ``tags``, ``metadata`` and ``disabled_until``, as of
                :class:`~activeindex.stores.records.Record`; None takes a value away.

        Returns:
            The record with the changes.

        Raises:
            InputError: If there is no such image, or another process is writing.

        Example:
            >>> store.update(7, tags=["summer"], disabled_until=1.8e9)  # doctest: +SKIP
        """
        if unknown := changes.keys() - CHANGEABLE:
            raise InputError(f"update: expected {', '.join(CHANGEABLE)}, found {min(unknown)}")
        self._check_schema("updated")
        stored = {name: stored_value(name, value) for name, value in changes.items()}
        with self._writing():
            for generation in reversed(self._all):  # The record itself is last.
                if generation.rows(("id",), "id", [number]):
                    generation.update(number, stored)
        if not (found := self.get([number])):
            raise InputError(f"id: expected that of an image of {self._address}, found {number}")
        return found[0]

    def thumbnail(self, number: int) -> bytes | None:
        """The small copy of an original, the bytes of an image file; None where none was kept.

        Raises:
            InputError: If it is damaged.
        """
        for generation in self._refresh():
            if generation.rows(("id",), "id", [number]):
                value: bytes | None = generation.values("thumbnail", _as_ids([number]))[0]
                return value
        return None

    def get(self, ids: npt.ArrayLike) -> list[Record]:
        """Records of those ids that are there, in ascending order."""
        unique = np.unique(_as_ids(ids))
        found = [record for generation in self._refresh() for record in generation.get(unique)]
        return sorted(found, key=lambda record: record.id)

    def page(self, after: int, count: int) -> list[Record]:
        """Records of the first ``count`` images whose ids are larger than ``after``, ascending."""
        found = [generation.ids_after(after, count) for generation in self._refresh()]
        return self.get(np.sort(np.concatenate(found))[:count])

    def named(self, names: Sequence[str]) -> Ids:
        """Ids of names, in all generations, ascending."""
        found = [i for generation in self._refresh() for i in generation.named(names).values()]
        return np.array(sorted(found), np.int64)

    def parse(self, where: str) -> Filter:
        """Parse a filter over the columns of the store; see :meth:`search`.

        Raises:
            InputError: If it is malformed.
        """
        return parse_filter(where, FILTERABLE if self.format == 1 else FILTERABLE_2)

    def select(self, where: str) -> Ids:
        """Ids of the images that match a filter, ascending; see :meth:`search`.

        Raises:
            InputError: If the filter is malformed.
        """
        parsed = self.parse(where)
        return np.sort(np.concatenate([each.select(parsed) for each in self._refresh()]))

    def search(
        self,
        images: "Images | ImageFeatures",
        k: int = 10,
        *,
        effort: int = EFFORT,
        nprobe: int | None = None,
        refine: int = 0,
        where: str | None = None,
        match: float = MATCH,
        review: float = REVIEW,
        extractor: "ExtractorLike" = None,
    ) -> QueryResults:
        """Find the ``k`` nearest stored images of each image.

        Args:
            images: Paths, folders, Pillow images, arrays or tensors, one or any number; see
                :func:`~activeindex.images.coerce.iterate_pictures`. Or what ``extract`` returned.
            k: Stored images per query.
            effort: Codes that are compared with each query, about: a smaller store is searched as
                a whole, of a larger one the nearest inverted lists are visited.
            nprobe: Inverted lists that are visited in every generation, instead of an effort.
            refine: 0 orders by the distance to the reconstructions of the codes; ``r`` orders the
                ``r * k`` nearest codes by the distance to their features.
            where: A filter, as ``name LIKE 'summer/%' AND psnr > 40``; it may come from a stranger.
                See :mod:`activeindex.stores.filters` and
                :data:`~activeindex.stores.records.FILTERABLE_2`.
            match: Expected false matches per query up to which a hit is a copy, in a store with a
                calibration.
            review: Expected false matches per query up to which a hit is worth a look.
            extractor: An extractor, its name or file; by default the store's, where it is one of
                ``EXTRACTORS``, or the one that this package ships.

        Returns:
            A :class:`~activeindex.stores.query.QueryResult` for each image, in their order.

        Raises:
            InputError: If an option is out of range, the filter is malformed, or the extractor is
                another one than the store's.
            UnreadableImageError: If a file cannot be decoded.
        """
        _check_options(k, effort, nprobe, refine)
        if where is not None:
            self.parse(where)
        if not isinstance(images, ImageFeatures):
            from activeindex.extractors.coerce import extract

            images = extract(images, self._extractor(extractor))
        self.check_extractor(images.extractor, images.shape[1])
        options: dict[str, Any] = {"effort": effort, "nprobe": nprobe, "match": match}
        options |= {"refine": refine, "where": where, "review": review}
        names = [name or f"image {place}" for place, name in enumerate(images.names)]
        return QueryResults(answers(self, names, images.values, k, **options))

    def search_features(
        self,
        features: Features,
        k: int = 10,
        *,
        effort: int = EFFORT,
        nprobe: int | None = None,
        refine: int = 0,
        where: str | None = None,
    ) -> Neighbours:
        """Find the ``k`` nearest images of each feature ``(n, d)``; options as of :meth:`search`.

        Returns:
            Ids and distances ``(n, k)``: squared Euclidean (L2) or inner products (IP), equal ones
            by ascending id; the id is -1 where there are fewer than ``k`` images.

        Raises:
            ShapeError: If the features have another dimension than the store's.
            InputError: If an option is out of range or the filter is malformed.
        """
        _check_options(k, effort, nprobe, refine)
        parsed = None if where is None else self.parse(where)
        self._check_dimension(features)
        self._refresh()
        return nearest(self._all, features, k, effort, nprobe, refine, parsed)

    def calibrations(self) -> dict[str, Calibration]:
        """Calibrations of the generations that have one, by the hash of their quantiser.

        A generation of the package's index has the package's as long as it has none of its own.

        Raises:
            InputError: If one is damaged, or of another extractor or quantiser.
        """
        found = {}
        for generation in self._refresh():
            path = generation.folder / CALIBRATION_FILE
            if not path.is_file() and same(generation.identity, packaged_index().identity):
                path = FOLDER / CALIBRATION_FILE
            if path.is_file():
                status = path.stat()
                calibration = _calibration(path, status.st_mtime_ns, status.st_size)
                calibration.check(path, self.extractor, generation.identity)
                found[generation.identity.sha256] = calibration
        return found

    def visit(self, effort: int = EFFORT, nprobe: int | None = None) -> Visit:
        """Inverted lists that a :meth:`search` visits, and their codes, over all generations."""
        self._refresh()
        visits = [visit for _, visit in _visits(self._all, effort, nprobe)]
        parts = ((visit.nprobe, visit.lists, visit.codes) for visit in visits)
        return Visit(*map(sum, zip(*parts, strict=True)))

    def codes(self) -> int:
        """Number of codes that images are found by: one for each, and those of views."""
        self._refresh()
        return sum(generation.count() for generation in self._all)

    def index(self, reporter: Reporter = SILENT) -> None:
        """Index the images that the engine of the store has added.

        Args:
            reporter: Reports the progress, by parts of the index.

        Raises:
            InputError: If another process is writing.
            ActiveIndexError: If a part is not of the quantiser; it is removed again.
        """
        with reporter.stage("index") as progress, self._writing():
            for generation in self._all:
                generation.index(self._engine, progress)

    def compact(self) -> None:
        """Rewrite the files without removed images, and for fast searches.

        Raises:
            InputError: If another process is writing.
        """
        with self._writing():
            for generation in self._all:
                generation.index(self._engine)
                generation.compact(self._engine)

    def count(self) -> int:
        """Number of images."""
        return sum(generation.count() for generation in self._refresh())

    def __repr__(self) -> str:
        return f"Store({str(self._address)!r})"

    def close(self) -> None:
        """Close the files, and let other processes write."""
        if self._wrote:
            self._finish_killed_writes()
        for generation in self._all:
            generation.close()
        self._held.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_schema(self, done: str) -> None:
        if self.format < _FORMAT:
            raise InputError(
                f"{self._address}: expected a store of format {_FORMAT} to be {done}, found format "
                f"{self.format}; convert it by `activeindex store upgrade {self._path}`"
            )

    def _check_fits(self, trained: TrainedIndex) -> None:
        """Check that the engine, and the features of the store, can be searched through an index.

        Raises:
            InputError: If they cannot.
        """
        self._address.generation_class.check(trained)
        first = self.generations[0].trained.index
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

    def _note_second(self, features: ImageFeatures) -> None:
        """Note the second extractor, or check that it is the one of the store."""
        here = ExtractorIdentity.from_json(
            self._note["second_extractor"], where=self._path / STORE_FILE
        )
        if features.extractor is None:
            raise InputError("second_features: expected what extract returned, found no extractor")
        if here is None:
            self._write_note(second_extractor=features.extractor.as_json())
        elif not same(here, features.extractor):
            raise InputError(
                f"second_features: expected features of {here}, as {self._address} has, found "
                f"those of {features.extractor}"
            )

    def _check_dimension(self, features: Features) -> None:
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise ShapeError("features", ("n", self.dimension), features.shape)

    def _extractor(self, extractor: "ExtractorLike") -> "Extractor":
        from activeindex.extractors.cards import CARDS
        from activeindex.extractors.coerce import resolve_extractor
        from activeindex.extractors.named import load_extractor

        known = self.extractor
        if extractor is None and known is not None and known.name in CARDS:
            return load_extractor(known.name, known.input_size, pooling=known.pooling)
        return resolve_extractor(extractor)

    def _find(self, trained: TrainedIndex) -> Generation | None:
        return next((g for g in self.generations if same(g.identity, trained.identity)), None)

    def _finish_killed_writes(self) -> None:
        # Readers otherwise leave the lock alone: writers do not wait for it.
        if not (self._unnamed() or self._note.get("removing") or self._unfinished()):
            return
        if not os.access(self._path, os.W_OK):
            return
        alone = only_run(self._path, "store") if self._engine is None else contextlib.nullcontext()
        # A process that holds the lock is alive, and finishes itself.
        with contextlib.suppress(BusyError), self._turn, alone:
            self._refresh()
            for generation in self._unfinished():
                generation.finish(self._engine)
            self._finish_removal()
            self._remove_unnamed()

    def _finish_removal(self) -> None:
        if removing := self._note.get("removing"):
            self._wrote = True
            for generation in self._all:
                generation.remove(_as_ids(removing))
            self._write_note(removing=[])

    def _unfinished(self) -> list[Generation]:
        return [each for each in self._all if each.unfinished(self._engine)]

    def _unnamed(self) -> list[Path]:
        """Folders of generations that a killed process has begun, or has not yet removed."""
        named = folders(self._note)
        return [each for each in self._path.glob("generation-*") if each.name not in named]

    def _remove_unnamed(self) -> None:
        for folder in self._unnamed():
            shutil.rmtree(folder)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        free = self._engine is not None
        alone = contextlib.nullcontext() if free else only_run(self._path, "store", self.wait)
        with self._turn, alone:
            self._refresh()
            self._finish_removal()
            self._wrote = True
            yield

    def _refresh(self) -> tuple[Generation, ...]:
        """Open generations that another process has begun; returns all."""
        with self._refreshing:
            # A search takes half as long where the note is not read and checked again.
            seen = _seen(self._path / STORE_FILE)
            if seen is None or seen != self._seen:
                self._note, self._seen = read_note(self._address), seen
            # All are others after an upgrade; threads that read right now keep what they read.
            self._opened = {
                name: self._opened.get(name) or open_generation(self._address, name, self._note)
                for name in folders(self._note)
            }
            self.generations = tuple(self._opened[name] for name in self._note["generations"])
            return self.generations

    def _write_note(self, **changes: Any) -> None:
        self._note = self._note | changes
        write = write_json if self._note["format"] == 1 else write_checked
        write(self._path / STORE_FILE, self._note)


def _seen(path: Path) -> tuple[int, ...] | None:
    """Inode, size and times of a file, which change when it is written anew; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=8)
def _calibration(path: Path, changed: int, size: int) -> Calibration:
    """Read a calibration once for as long as its file stays as it is."""
    return Calibration.read(path)


def read_note(where: Address) -> dict[str, Any]:
    """Read the note of a store, ``store.json``.

    Raises:
        InputError: If it is missing or damaged, or of another engine or a later format.
    """
    path = where.check_there()
    note = read_json(path, {"format": int, "engine": str, "generations": list, "next_id": int})
    names = note.get("generations") or [None]
    if not note.keys() >= _KEYS or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: expected the note of a store")
    if note["format"] != 1:
        note = read_checked(path)
    if note["format"] not in (1, _FORMAT) or note["engine"] != where.engine:
        raise InputError(
            f"{where}: expected a store of format {_FORMAT} and engine {where.engine}, found "
            f"format {note['format']}, engine {note['engine']}"
        )
    return note


def folders(note: Mapping[str, Any]) -> list[str]:
    """Folders of the generations that a note names, and of those of their views."""
    views = note.get("views", {})
    return [*note["generations"], *(name for each in views.values() for name in each)]


def open_generation(where: Address, name: str, note: Mapping[str, Any]) -> Generation:
    """Open a generation of a store with this note.

    Raises:
        InputError: If its quantiser is damaged, or its files cannot be read.
    """
    folder = where.path / name
    if note["format"] > 1:  # FAISS may crash at other bytes.
        noted = read_sums(folder)
        for file in (_QUANTISER, f"{Path(_QUANTISER).stem}.json"):
            if file in noted and differing(folder / file, noted[file]):
                raise InputError(
                    f"{folder / file}: expected the quantiser as it was written, found other "
                    "bytes; put it back from a copy of the store"
                )
    return where.generation_class(folder, TrainedIndex.read(folder / _QUANTISER))


def as_trained(index: TrainedLike | None) -> TrainedIndex:
    """Return a trained index of its folder or file; that of the package for None."""
    if index is None:
        return packaged_index()
    if isinstance(index, TrainedIndex):
        return index
    if isinstance(index, str | os.PathLike):
        return TrainedIndex.read(Path(index))
    raise InputError(
        f"index: expected a trained index, its folder or file, found a {type(index).__name__}"
    )


def _as_ids(ids: npt.ArrayLike) -> Ids:
    try:
        return np.atleast_1d(np.asarray(ids, np.int64))
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"ids: expected whole numbers of 64 bits ({error})") from None


def nearest(
    generations: Sequence[Generation],
    features: Features,
    k: int,
    effort: int = EFFORT,
    nprobe: int | None = None,
    refine: int = 0,
    where: Filter | None = None,
) -> Neighbours:
    """The ``k`` nearest images of each feature in some generations, each image once.

    Options and result are as of :meth:`Store.search_features`.
    """
    found = [
        each.search(features, k, visit.nprobe, refine, where)
        for each, visit in _visits(generations, effort, nprobe)
    ]
    if len(found) == 1:
        return found[0]
    distances = np.concatenate([part.distances for part in found], axis=1)
    ids = np.concatenate([part.ids for part in found], axis=1)
    largest = generations[0].largest_first
    return ordered(distinct(Neighbours(distances, ids), largest=largest), k, largest=largest)


def _visits(
    generations: Sequence[Generation], effort: int, nprobe: int | None
) -> list[tuple[Generation, Visit]]:
    """The share of each generation: the effort is for all of them together."""
    counts = [(each, each.searched()) for each in generations]
    total = sum(count for _, count in counts)
    return [
        (each, Visit.of(nprobe or lists_within(effort, each.lists, total), each.lists, count))
        for each, count in counts
    ]


def _check_options(k: int, effort: int, nprobe: int | None, refine: int) -> None:
    given = {"k": k, "effort": effort, "nprobe": nprobe, "refine": refine}
    for name, value in given.items():
        least = 0 if name == "refine" else 1
        if value is not None and value < least:
            raise InputError(f"{name}: expected {least} or more, found {value}")


def _create_generation(where: Address, there: Sequence[str], trained: TrainedIndex) -> str:
    """Make an empty generation, to be named in ``store.json``; returns the name of its folder."""
    number = 1 + max((int(name.rpartition("-")[2]) for name in there), default=0)
    folder = where.path / f"generation-{number:04d}"
    if folder.exists():  # A process was killed before it could name it.
        shutil.rmtree(folder)
    path = folder / _QUANTISER
    make_folder(folder)
    if trained.manifest is not None:
        trained.manifest.write(path.with_suffix(".json"))
    with whole_file(path) as beside:
        if trained.path is None:
            faiss.serialize_index(trained.index).tofile(beside)
        else:
            shutil.copyfile(trained.path, beside)
    where.generation_class.create(folder, trained).close()
    return folder.name
