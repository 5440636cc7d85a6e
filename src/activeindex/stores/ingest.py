"""Ingestion: the images that a user hands to a store, on their way into it.

:func:`read_images` makes :class:`NewImages` of anything that ``Store.add`` takes. They are split
into parts (:class:`Part`), which are coded (:func:`code_parts`) in this process or on a cluster and
committed by the store one at a time.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from activeindex.activation.records import (
    RECORDS_FILE,
    read_records,
    record_json,
    recorded_extractor,
    recorded_outcomes,
    was_changed,
)
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.coerce import ImageFeatures
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    SUFFIXES,
    FeatureFile,
    is_of_activation,
    read_features,
)
from activeindex.identity import ExtractorIdentity, same
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.runtime.files import check_file, check_there, file_hash, read_lines
from activeindex.runtime.reporting import counted, listed
from activeindex.stores.records import MEASURES, measure, same_code

if TYPE_CHECKING:
    from activeindex.stores.generation import Generation
    from activeindex.stores.store import Store

PathLike: TypeAlias = str | os.PathLike[str]

ROWS = 1 << 16
"""Images that are added together; a killed run has added whole parts."""


@dataclass(frozen=True, eq=False)
class NewImages:
    """``n`` images to be added to a store.

    Attributes:
        names: Their names.
        features: ``(n, d)`` float32, of the originals; may be mapped from a file.
        activations: Activation records, by name.
        extractor: The extractor of the features; None where it is not known.
        descriptor_views: Views that were averaged with each image; None likewise.
        file: The feature file, whose values have been checked; None for features in memory.

    Raises:
        ShapeError: If there are not as many features as names.
        InputError: If features in memory are not finite, or have a name twice.

    Example:
        >>> len(NewImages(["a.png", "b.png"], np.zeros((2, 64), np.float32)))
        2
    """

    names: Sequence[str]
    features: Features
    activations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extractor: ExtractorIdentity | None = None
    descriptor_views: int | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.names):
            raise ShapeError("features", (len(self.names), "d"), self.features.shape)
        if self.file is None:
            if not np.isfinite(self.features).all():
                raise InputError("features: expected finite values, found NaN or infinity")
            check_once(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def parts(self) -> Iterator["Part"]:
        """Yield the images in parts of at most :data:`ROWS`."""
        for start in range(0, len(self), ROWS):
            rows = range(start, min(start + ROWS, len(self)))
            yield Part.of(self.names[start : rows.stop], rows, self.activations)


@dataclass(frozen=True)
class Part:
    """Some rows of :class:`NewImages`; small enough to be sent to a worker.

    Attributes:
        names: Their names.
        rows: The row of each.
        activations: Activation records, by name, of these images only.
    """

    names: Sequence[str]
    rows: Sequence[int]
    activations: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls, names: Sequence[str], rows: Sequence[int], activations: Mapping[str, Mapping[str, Any]]
    ) -> "Part":
        """Make a part without the records of other images."""
        here = {name: activations[name] for name in names if name in activations}
        return cls(names, rows, here)

    def __len__(self) -> int:
        return len(self.names)

    def without(self, names: Mapping[str, int]) -> "Part":
        """The images whose name is not one of ``names``."""
        places = [place for place, name in enumerate(self.names) if name not in names]
        if len(places) == len(self):
            return self
        left = [self.names[place] for place in places]
        return self.of(left, [self.rows[place] for place in places], self.activations)

    def changed_since(self, generation: "Generation", there: Mapping[str, int]) -> list[str]:
        """Names that a generation has for another file, or with another code, than recorded here.

        Args:
            generation: The generation.
            there: The ids of the names that it has.
        """
        ids = sorted(there[name] for name in self.activations if name in there)
        found = []
        for record in generation.get(np.array(ids, np.int64)):
            new = self.activations[record.name]
            code = np.frombuffer(record.code, np.uint8)
            hashes = {record.sha256, new.get("sha256")} - {None}
            if len(hashes) > 1 or not same_code(code, new.get("code"), generation.quantiser):
                found.append(record.name)
        return found

    def columns(self, data_dir: Path | None = None) -> dict[str, list[Any]]:
        """Name, hash, measures and record of each image, as a store keeps them.

        Args:
            data_dir: Folder of the originals, to hash those without an activation record.

        Raises:
            InputError: If an original is missing.
        """
        records = [self.activations.get(name) for name in self.names]
        hashes = [None if record is None else record.get("sha256") for record in records]
        if data_dir is not None:
            hashes = [
                file_hash(check_file(data_dir / name, "data_dir")) if record is None else value
                for name, record, value in zip(self.names, records, hashes, strict=True)
            ]
        return {
            "name": list(self.names),
            "sha256": [None if value is None else str(value) for value in hashes],
            **{name: [measure(record, name) for record in records] for name in MEASURES},
            "activation": [None if record is None else record_json(record) for record in records],
        }

    def added(self, codes: npt.NDArray[np.uint8], quantiser: Quantiser) -> "Added":
        """The result of adding these images with codes ``(n, code_size)``."""
        moved = [
            name
            for name, code in zip(self.names, codes, strict=True)
            if name in self.activations
            and not same_code(code, self.activations[name].get("code"), quantiser)
        ]
        return Added(len(self), sum(map(was_changed, self.activations.values())), moved)


@dataclass
class Added:
    """Result of adding images to a store.

    Attributes:
        count: Images that are in the store now and were not before.
        activated: Those of them that were changed before release.
        moved: Names of activated images whose feature has another code than their record says.
        there: Images whose names were there already, which were left as they were.
        others: Names of those that are there for another file, or with another code, than their
            activation record says.
        ids: Id of each image, in the order of the images.
    """

    count: int = 0
    activated: int = 0
    moved: list[str] = field(default_factory=list)
    there: int = 0
    others: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        text = f"{counted(self.count, 'image')} added, {self.activated} of them activated"
        if self.there:
            text += f"; {self.there} {'was' if self.there == 1 else 'were'} there already"
        if self.others:
            text += (
                f", {len(self.others)} of them for another file or with another code "
                f"({listed(self.others)}): remove these before they are added again"
            )
        if self.moved:
            text += (
                f"; {len(self.moved)} have another code than they were activated for "
                f"({listed(self.moved)})"
            )
        return text


@dataclass(frozen=True, eq=False)
class CodedPart:
    """A part as an engine writes it.

    Attributes:
        ids: ``(n,)``.
        columns: See :meth:`Part.columns`.
        features: ``(n, d)``.
        codes: ``(n, code_size)``.
    """

    ids: npt.NDArray[np.int64]
    columns: dict[str, list[Any]]
    features: Features
    codes: npt.NDArray[np.uint8]


def code_parts(
    quantiser: Quantiser,
    features: npt.NDArray[Any],
    parts: Sequence[tuple[int, Part]],
    data_dir: Path | None,
) -> Iterator[tuple[Added, CodedPart]]:
    """Yield the result of each part, and the part itself; see :meth:`Generation.write`."""
    for first, part in parts:
        rows: Any = part.rows
        # A slice is not copied.
        rows = slice(rows.start, rows.stop) if isinstance(rows, range) else list(rows)
        values = features[rows].astype(np.float32, copy=False)
        codes = quantiser.encode(values)
        ids = np.arange(first, first + len(part), dtype=np.int64)
        coded = CodedPart(ids, part.columns(data_dir), values, codes)
        yield part.added(codes, quantiser), coded


def read_images(
    store: "Store",
    generation: "Generation",
    images: Any,
    names: Sequence[str] | PathLike | None,
    activations: Mapping[str, Mapping[str, Any]] | PathLike | None,
    force: bool,
) -> NewImages:
    """Make :class:`NewImages` of anything that :meth:`Store.add` takes; see there."""
    if isinstance(images, NewImages):
        return images
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        file, names_file = _feature_file(path)
        if activations is None and path.is_dir():
            activations = _records_file(path, file)
        images = read_features(file, "FTS", store.dimension)
        names = names_file if names is None else names
    if names is None and isinstance(images, ImageFeatures) and None not in images.names:
        names = [str(name) for name in images.names]
    if names is None:
        raise InputError("names: expected a name for each feature, found none")
    described = isinstance(images, FeatureFile | ImageFeatures)
    values = images.values if described else np.asarray(images, np.float32)
    if isinstance(names, str | os.PathLike):
        names = read_names(Path(names), len(values))
    if isinstance(activations, str | os.PathLike):
        activations = read_activations(Path(activations), store, generation, force=force)
    new = NewImages(
        names,
        values,
        activations or {},
        images.extractor if described else None,
        images.descriptor_views if described else None,
        images.path if isinstance(images, FeatureFile) else None,
    )
    if not force:
        store.check_extractor(new.extractor)
        _check_views(new)
    return new


def _feature_file(path: Path) -> tuple[Path, Path]:
    """The feature file in a folder, or the file itself, and the file with the names of its rows.

    Raises:
        InputError: If there is nothing, or a folder without features.
    """
    check_there(path, "FTS", "features, or the folder of activated images")
    if not path.is_dir():
        return path, path.with_name(NAMES_FILE)
    for suffix in SUFFIXES:
        if (file := path / f"fts{suffix}").is_file():
            return file, path / NAMES_FILE
    raise InputError(
        f"FTS {path}: expected a folder that activate or extract_fts has finished, with fts.pt, "
        "found none"
    )


def _records_file(folder: Path, features: Path) -> Path | None:
    """The activation records in a folder; those beside a single file may be of other images.

    Raises:
        InputError: If there are none though the features are of activated images.
    """
    if (folder / RECORDS_FILE).is_file():
        return folder / RECORDS_FILE
    if is_of_activation(features):
        raise InputError(
            f"FTS {folder}: expected {RECORDS_FILE} beside the features of activated images, found "
            f"none; {features} alone is taken without them, or with --activation"
        )
    return None


def read_names(path: Path, count: int) -> list[str]:
    """Read the names of the rows of a feature file, one per line.

    Raises:
        InputError: If there is no such file or it has another number of lines.
    """
    check_file(path, "names")
    names = list(read_lines(path))
    if len(names) != count:
        raise InputError(
            f"names {path}: expected {count} names, one per feature, found {len(names)}"
        )
    return names


def read_activations(
    path: Path, store: "Store", generation: "Generation", *, force: bool = False
) -> dict[str, dict[str, Any]]:
    """Read the records of an ``activation.jsonl``, by the names of the originals.

    Args:
        path: The file.
        store: The store that the images are added to.
        generation: Its generation.
        force: Take records of another quantiser or extractor.

    Raises:
        InputError: If images were activated for another quantiser than the generation's, or
            through another extractor than the store's.
    """
    records = {}
    for record in read_records(check_file(path, "activation")):
        name = str(record.get("name"))
        outcomes = recorded_outcomes(path, record)
        here = [each.reached for each in outcomes if same(each.quantiser, generation.identity)]
        if outcomes and not force:
            if not here:
                found = " and ".join(str(each.quantiser) for each in outcomes)
                raise InputError(
                    f"{path}: {name} was activated for the quantiser {found}, expected "
                    f"{generation.identity}; choose a generation with --index, or --force"
                )
            store.check_extractor(recorded_extractor(path, record))
        # Of several quantisers, the code and distances for this one.
        records[name] = {**record, **here[0]} if here else record
    return records


def check_once(names: Sequence[str]) -> None:
    """Check that no name comes twice.

    Raises:
        InputError: If one does.
    """
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise InputError(f"names: expected each once, found {twice!r} twice")


def _check_views(new: NewImages) -> None:
    """Refuse features of other views than images were activated for: they have other codes."""
    if new.descriptor_views is None:
        return
    for name in new.names:
        record = new.activations.get(name)
        views = 0 if record is None else record.get("settings", {}).get("descriptor_views", 0)
        if views != new.descriptor_views:
            why = f"since {name} has no record of activation"
            if record is not None:
                why = f"which {name} was activated for"
            raise InputError(
                f"FTS {new.file}: expected features of extract_fts --descriptor_views {views}, "
                f"{why}, found --descriptor_views {new.descriptor_views}; --force goes on "
                "nevertheless"
            )
