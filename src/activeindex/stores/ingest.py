"""Ingestion: the images that a user hands to a store, on their way into it.

:func:`read_images` makes :class:`NewImages` of anything that ``Store.add`` takes. They are split
into parts (:data:`Part`), which are coded (:func:`code_parts`) in this process or on a cluster and
committed by the store one at a time.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    SUFFIXES,
    FeatureFile,
    ImageFeatures,
    is_of_activation,
    read_features,
)
from activeindex.identity import same
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.runtime.files import (
    check_file,
    check_there,
    file_hash,
    name_line,
    name_of_line,
    path_inside,
    read_lines,
)
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.reporting import counted, listed
from activeindex.stores.records import (
    BLOBS,
    COLUMNS,
    MEASURES,
    TEXTS,
    measure,
    record_checksum,
    same_code,
    value_checksum,
)

if TYPE_CHECKING:
    from activeindex.activation.results import ActivationResult
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
        source: The feature file, whose values have been checked, or what ``extract`` returned;
            None for an array.
        more: Optional columns by name (:data:`~activeindex.stores.records.BLOBS`, ``tags``,
            ``metadata``, ``disabled_until``), with a value for each image, None for none.

    Raises:
        ShapeError: If there are not as many features, or values of a column, as names.
        InputError: If features in memory are not finite, or have a name twice.

    Example:
        >>> len(NewImages(["a.png", "b.png"], np.zeros((2, 64), np.float32)))
        2
    """

    names: Sequence[str]
    features: Features
    activations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: FeatureFile | ImageFeatures | None = None
    more: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.more.items():
            if len(values) != len(self.names):
                raise ShapeError(name, (len(self.names), "…"), np.shape(values)[:1])
        if self.features.ndim != 2 or len(self.features) != len(self.names):
            raise ShapeError("features", (len(self.names), "d"), self.features.shape)
        if not isinstance(self.source, FeatureFile):
            if not np.isfinite(self.features).all():
                raise InputError("features: expected finite values, found NaN or infinity")
            check_once(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def parts(self) -> Sequence["Part"]:
        """Split the images into parts of at most :data:`ROWS`."""
        images = [
            NewImage(row, name, self.activations.get(name), self._more(row))
            for row, name in enumerate(self.names)
        ]
        return batches_of(images, ROWS)

    def _more(self, row: int) -> dict[str, Any]:
        return {name: values[row] for name, values in self.more.items()}


class NewImage(NamedTuple):
    """An image of :class:`NewImages`; small enough to be sent to a worker.

    Attributes:
        row: Its row in the features.
        name: Its name.
        record: Its activation record; None without one.
        more: Its values of :attr:`NewImages.more`.
    """

    row: int
    name: str
    record: Mapping[str, Any] | None
    more: Mapping[str, Any] = MappingProxyType({})


Part: TypeAlias = Sequence[NewImage]
"""Images that are added together, all or none."""

Addable: TypeAlias = (
    "PathLike | ActivationResult | FeatureFile | ImageFeatures | NewImages | npt.ArrayLike"
)
"""Images that a user can add; see :meth:`Store.add`."""


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

    @classmethod
    def of(cls, part: Part, codes: npt.NDArray[np.uint8], quantiser: Quantiser) -> "Added":
        """The result of adding a part with codes ``(n, code_size)``."""
        activated, moved = 0, []
        for image, code in zip(part, codes, strict=True):
            if image.record is not None:
                activated += was_changed(image.record)
                if not same_code(code, image.record.get("code"), quantiser):
                    moved.append(image.name)
        return cls(len(part), activated, moved)

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
        columns: A list for each of ``COLUMNS``, ``BLOBS`` and ``CHECKSUMS`` of
            :mod:`~activeindex.stores.records`; blobs are bytes, or None.
        features: ``(n, d)``.
        codes: ``(n, code_size)``.
    """

    ids: npt.NDArray[np.int64]
    columns: dict[str, list[Any]]
    features: Features
    codes: npt.NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        ids: npt.NDArray[np.int64],
        columns: Mapping[str, Sequence[Any]],
        features: Features,
        codes: npt.NDArray[np.uint8],
    ) -> "CodedPart":
        """Compute the checksums of a part, and fill columns that are not there with None."""
        numbers = ids.tolist()
        nothing = [None] * len(numbers)
        filled = {name: [*columns.get(name, nothing)] for name in (*COLUMNS, *BLOBS)}
        records = zip(*(filled[name] for name in COLUMNS), strict=True)
        features = np.ascontiguousarray(features, "<f4")
        values: dict[str, Iterable[Any]] = {**filled, "feature": features}
        filled["checksum"] = [
            record_checksum(number, record, code.tobytes())
            for number, record, code in zip(numbers, records, codes, strict=True)
        ]
        for name in ("feature", *BLOBS):
            filled[f"{name}_checksum"] = [
                None if value is None else value_checksum(number, value)
                for number, value in zip(numbers, values[name], strict=True)
            ]
        return cls(ids, filled, features, codes)


def of_views(
    part: CodedPart, images: Part, features: Features, generation: "Generation"
) -> CodedPart:
    """A part of views of images: their ids and what filters ask for, with codes of the views.

    Args:
        part: The images.
        images: Their rows in the features.
        features: ``(n, d)``, of a view of each new image.
        generation: The generation of the views.
    """
    values = np.ascontiguousarray(features[[image.row for image in images]])
    columns = {name: part.columns[name] for name in COLUMNS if name != "activation"}
    return CodedPart.of(part.ids, columns, values, generation.quantiser.encode(values))


def code_parts(
    quantiser: Quantiser,
    features: npt.NDArray[Any],
    parts: Sequence[tuple[int, Part]],
    data_dir: Path | None,
) -> Iterator[tuple[Added, CodedPart]]:
    """Yield the result of each part, and the part itself; see :meth:`Generation.write`."""
    for first, part in parts:
        rows: Any = [image.row for image in part]
        if rows[-1] - rows[0] < len(rows):  # A slice is not copied.
            rows = slice(rows[0], rows[-1] + 1)
        values = features[rows].astype(np.float32, copy=False)
        codes = quantiser.encode(values)
        ids = np.arange(first, first + len(part), dtype=np.int64)
        coded = CodedPart.of(ids, columns_of(part, data_dir), values, codes)
        yield Added.of(part, codes, quantiser), coded


def columns_of(part: Part, data_dir: Path | None = None) -> dict[str, list[Any]]:
    """Name, hash, measures and record of each image, as a store keeps them.

    Args:
        part: The images.
        data_dir: Folder of the originals, to hash those without an activation record.

    Raises:
        InputError: If an original is missing.
    """
    records = [image.record for image in part]
    return {
        "name": [image.name for image in part],
        "sha256": [_hash_of(image, data_dir) for image in part],
        **{name: [measure(record, name) for record in records] for name in MEASURES},
        "activation": [None if record is None else record_json(record) for record in records],
        **{name: [stored_value(name, image.more[name]) for image in part] for name in part[0].more},
    }


def stored_value(name: str, value: Any) -> Any:
    """A value of :attr:`NewImages.more` as an engine keeps it.

    Raises:
        InputError: If it is of another kind.
    """
    if value is None or isinstance(value, bytes):
        return value
    if name == "tags":
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise InputError(f"tags: expected a list of words, found {value!r}")
    elif name == "metadata" and not isinstance(value, Mapping):
        raise InputError(f"metadata: expected names and values, found {value!r}")
    if name in TEXTS:
        try:
            return json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise InputError(f"{name}: expected values as JSON has them, found others") from None
    if name == "disabled_until":
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"{name}: expected seconds since 1970, found {value!r}")
        return float(value)
    return np.asarray(value, "<f4").tobytes()


def _hash_of(image: NewImage, data_dir: Path | None) -> str | None:
    if image.record is not None:
        return image.record.get("sha256")
    if data_dir is not None:
        return file_hash(
            check_file(path_inside(data_dir, name_of_line(image.name), "names"), "data_dir")
        )
    return None


def changed_since(part: Part, generation: "Generation", there: Mapping[str, int]) -> list[str]:
    """Names that a generation has for another file, or with another code, than recorded in a part.

    Args:
        part: The images.
        generation: The generation.
        there: Ids of the names that it has.
    """
    new = {image.name: image.record for image in part if image.record and image.name in there}
    found = []
    for old in generation.get(np.array(sorted(map(there.__getitem__, new)), np.int64)):
        record = new[old.name]
        hashes = {old.sha256, record.get("sha256")} - {None}
        code = np.frombuffer(old.code, np.uint8)
        if len(hashes) > 1 or not same_code(code, record.get("code"), generation.quantiser):
            found.append(old.name)
    return found


def read_images(
    store: "Store",
    generation: "Generation",
    images: Addable,
    names: Sequence[str] | PathLike | None,
    activation: Mapping[str, Mapping[str, Any]] | PathLike | None,
    force: bool,
) -> NewImages:
    """Make :class:`NewImages` of anything that :meth:`Store.add` takes; see there."""
    from activeindex.activation.results import ActivationResult  # Imports PyTorch.

    if isinstance(images, NewImages):
        return images
    released: Sequence[Any] | None = None
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        file, names_file, records = _files_of(path)
        names = names_file if names is None else names
        activation = records if activation is None else activation
        if activation is None and path.is_dir() and is_of_activation(file):
            raise InputError(
                f"FTS {path}: expected {RECORDS_FILE} beside the features of activated images, "
                f"found none; {file} alone is taken without them, or with --activation"
            )
        images = read_features(file, "FTS", store.dimension)
    elif isinstance(images, ActivationResult):
        names = images.names
        named = ({**one.record, "name": name} for name, one in zip(names, images, strict=True))
        activation = _checked_records(Path("images"), named, store, generation, force)
        released = [image.released_feature for image in images] if store.format > 1 else None
        images = _features_of(images)
    if names is None and isinstance(images, ImageFeatures) and images.names and all(images.names):
        names = [str(name) for name in images.names]
    if names is None:
        raise InputError("names: expected a name for each feature, found none")
    source = images
    if not isinstance(source, FeatureFile | ImageFeatures):
        source = ImageFeatures(np.asarray(source, np.float32))
    if isinstance(names, str | os.PathLike):
        names = read_names(Path(names), len(source.values))
    else:
        names = [name_line(str(name)) for name in names]
    if isinstance(activation, str | os.PathLike):
        activation = read_activations(Path(activation), store, generation, force=force)
    more = {} if released is None else {"released_feature": released}
    new = NewImages(names, source.values, activation or {}, source, more)
    if source.extractor is not None and not force:
        store.check_extractor(source.extractor)
        _check_views(new, source)
    return new


def _features_of(result: "ActivationResult") -> ImageFeatures:
    if not len(result):
        raise InputError("images: expected one or more, found none")
    values = np.stack([image.feature for image in result])
    record = result[0].record
    extractor = recorded_extractor(Path("images"), record)
    views = record.get("settings", {}).get("descriptor_views", 0)
    return ImageFeatures(values, (), extractor, views)


def _files_of(path: Path) -> tuple[Path, Path, Path | None]:
    """The feature file in a folder, or the file itself, its names and its activation records.

    Records beside a single file are not taken: they may be of other images.

    Raises:
        InputError: If there is nothing, or a folder without features.
    """
    check_there(path, "FTS", "features, or the folder of activated images")
    if not path.is_dir():
        return path, path.with_name(NAMES_FILE), None
    for suffix in SUFFIXES:
        if (file := path / f"fts{suffix}").is_file():
            records = path / RECORDS_FILE
            return file, path / NAMES_FILE, records if records.is_file() else None
    raise InputError(
        f"FTS {path}: expected a folder that activate or extract_fts has finished, with fts.pt, "
        "found none"
    )


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
) -> dict[str, Mapping[str, Any]]:
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
    records = read_records(check_file(path, "activation"))
    return _checked_records(path, records, store, generation, force)


def _checked_records(
    path: Path,
    records: Iterable[Mapping[str, Any]],
    store: "Store",
    generation: "Generation",
    force: bool,
) -> dict[str, Mapping[str, Any]]:
    checked = {}
    for record in records:
        name = name_line(str(record.get("name")))
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
        checked[name] = {**record, **here[0]} if here else record
    return checked


def check_once(names: Sequence[str]) -> None:
    """Check that no name comes twice.

    Raises:
        InputError: If one does.
    """
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise InputError(f"names: expected each once, found {twice!r} twice")


def _check_views(new: NewImages, source: FeatureFile | ImageFeatures) -> None:
    """Refuse features of other views than images were activated for: they have other codes."""
    where = f"FTS {source.path}" if isinstance(source, FeatureFile) else "features"
    for name in new.names:
        record = new.activations.get(name)
        views = 0 if record is None else record.get("settings", {}).get("descriptor_views", 0)
        if views != source.descriptor_views:
            why = f"since {name} has no record of activation"
            if record is not None:
                why = f"which {name} was activated for"
            raise InputError(
                f"{where}: expected features of extract_fts --descriptor_views {views}, {why}, "
                f"found --descriptor_views {source.descriptor_views}; --force goes on nevertheless"
            )
