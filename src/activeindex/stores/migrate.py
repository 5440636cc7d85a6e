"""Migration of a store to another index: new codes, and a forecast of what they lose."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from activeindex.activation.records import was_changed
from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Features
from activeindex.runtime.files import parse_json, path_inside
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import Reporter, counted
from activeindex.stores.generation import Generation, Ids, id_batches
from activeindex.stores.ingest import CodedPart
from activeindex.stores.records import BLOBS, COLUMNS, Record

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor
    from activeindex.stores.store import Store

MOST_LOST = 0.02
"""Largest loss of R@1 that a forecast may say, where the caller does not."""

_PICTURES, _EDITS, _DRAWS = 50, 4, 2000


class Forecast(NamedTuple):
    """R@1 for edited copies of pictures of a store, before and after a migration.

    Attributes:
        before: R@1 in the store as it is.
        after: R@1 in the new generation.
        low: Lower end of the 95 % interval of ``after - before``, resampled over pictures.
        high: Its upper end.
        pictures: Pictures that were edited, four times each.
    """

    before: float
    after: float
    low: float
    high: float
    pictures: int

    @property
    def lost(self) -> float:
        """R@1 that is lost."""
        return self.before - self.after

    def __str__(self) -> str:
        return (
            f"R@1 {self.before:.3f} before and {self.after:.3f} after, {-self.lost:+.3f} "
            f"({self.low:+.3f} to {self.high:+.3f}), of edited copies of "
            f"{counted(self.pictures, 'picture')}"
        )


@dataclass(frozen=True)
class Migration:
    """Outcome of :meth:`Store.migrate`.

    Attributes:
        count: Images that were coded anew.
        forecast: The forecast; None where none was made.
    """

    count: int
    forecast: Forecast | None = None


@dataclass(frozen=True)
class Recoding:
    """New codes for the images of a store.

    Attributes:
        released: Folder of the released files; None if they are not at hand.
        load: Loads the store's extractor.
    """

    released: Path | None
    load: Callable[[], "Extractor"]

    @cached_property
    def extractor(self) -> "Extractor":
        """The store's extractor, which is loaded where pictures are read."""
        return self.load()

    def parts(
        self,
        generations: Sequence[Generation],
        kept: Generation | None,
        trained: TrainedIndex,
        *,
        force: bool,
    ) -> Iterator[CodedPart]:
        """Yield the images of generations by ascending id, with the codes of an index.

        Args:
            generations: The generations.
            kept: That of the index, whose codes stay.
            trained: The index.
            force: Take the original's feature of pictures whose released file is not there.

        Raises:
            InputError: If an image is damaged, its released file is needed and not there, or two
                have the same name.
        """
        own, names = [each.ids() for each in generations], set[str]()
        for ids in id_batches(np.sort(np.concatenate(own))):
            found = []
            for generation, there in zip(generations, own, strict=True):
                if not len(some := ids[np.isin(ids, there)]):
                    continue
                part = generation.part(some)
                if generation is not kept:
                    features = self._features(part, force=force)
                    codes = trained.quantiser.encode(features)
                    part = CodedPart.of(some, part.columns, features, codes)
                found.append(part)
            for name in (merged := _merged(found)).columns["name"]:
                if name in names:
                    raise InputError(
                        f"{name}: expected one image of this name, found it in two generations; "
                        "remove one of them by its id (`activeindex store get` prints both)"
                    )
                names.add(name)
            yield merged

    def _features(self, part: CodedPart, *, force: bool) -> Features:
        """Features ``(n, d)`` of what was published: the released picture, or the original."""
        features, missing = part.features.copy(), list[tuple[int, Path]]()
        columns = ("name", "activation", "released_feature")
        for row, (name, text, value) in enumerate(
            zip(*(part.columns[column] for column in columns), strict=True)
        ):
            record = None if text is None else parse_json(text)
            if value is not None:
                features[row] = np.frombuffer(value, "<f4")
            elif record is not None and was_changed(record):
                path = self._path(record.get("output"))
                if path is not None:
                    missing.append((row, path))
                elif not force:
                    raise InputError(
                        f"released {self.released or ''}: expected the released file of {name}, "
                        "whose feature the store does not have, found none; give the folder of "
                        "released pictures by --released, or --force to take the original's"
                    )
        if missing:
            rows, paths = zip(*missing, strict=True)
            features[[*rows]] = self._extracted(paths)
        return features

    def _path(self, name: object) -> Path | None:
        """Released file of a name, where it is there."""
        if self.released is None or not isinstance(name, str):
            return None
        path = path_inside(self.released, name, "released")
        return path if path.is_file() else None

    def _extracted(self, paths: Sequence[Path]) -> Features:
        from activeindex.extractors.features import ExtractionJob  # Imports PyTorch.

        batches = list(ExtractionJob(self.extractor)(batches_of(paths, 32), LocalEngine()))
        for batch in batches:
            batch.check("refuse")
        return np.concatenate([batch.features for batch in batches])

    def forecast(
        self,
        store: "Store",
        made: Sequence[Generation],
        kept: Generation | None,
        reporter: Reporter,
    ) -> Forecast:
        """Search a store, and the generation that is to replace its own, for edited copies.

        Args:
            store: The store.
            made: The new generation, and those of its views.
            kept: Generation of the same index, whose pictures are not asked for.
            reporter: Reports the progress.

        Raises:
            InputError: If no released file of the others is there.
        """
        from activeindex.decisions.calibrate import edited_features  # Imports PyTorch.
        from activeindex.stores.store import nearest

        sources = self._sources(store, kept)
        if not sources:
            raise InputError(
                f"released {self.released or ''}: expected released files of the store, to "
                "forecast what is lost, found none; give their folder by --released, or --force "
                "to go on without a forecast"
            )
        numbers = np.array([*sources])
        copies = edited_features(
            self.extractor, [*sources.values()], edits=_EDITS, reporter=reporter
        )
        hits = [
            (found.ids[:, 0] == numbers[copies.owners]).reshape(-1, _EDITS).mean(axis=1)
            for found in (
                store.search_features(copies.features, 1),
                nearest(made, copies.features, 1),
            )
        ]
        drawn = np.random.default_rng(0).integers(0, len(numbers), (_DRAWS, len(numbers)))
        low, high = np.quantile((hits[1] - hits[0])[drawn].mean(axis=1), (0.025, 0.975))
        before, after = (float(each.mean()) for each in hits)
        return Forecast(before, after, float(low), float(high), len(numbers))

    def _sources(self, store: "Store", kept: Generation | None) -> dict[int, Path]:
        """Published files of some images, by id."""
        found: dict[int, Path] = {}
        others = [each.ids() for each in store.generations if each is not kept]
        ids: Ids = np.random.default_rng(0).permutation(np.concatenate(others))
        for batch in id_batches(ids, 10 * _PICTURES):
            for record in store.get(batch):
                if (path := self._path(_published(record))) is not None:
                    found[record.id] = path
                if len(found) == _PICTURES:
                    return found
        return found


def _published(record: Record) -> object:
    """Name of the published file of an image: the released one, or the original."""
    return record.name if record.activation is None else record.activation.get("output")


def _merged(parts: Sequence[CodedPart]) -> CodedPart:
    """The images of several parts in one, by ascending id."""
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids)
    columns = {}
    for name in (*COLUMNS, *BLOBS):
        values = [value for part in parts for value in part.columns[name]]
        columns[name] = [values[place] for place in order]
    features, codes = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("features", "codes")
    )
    return CodedPart.of(ids[order], columns, features, codes)
