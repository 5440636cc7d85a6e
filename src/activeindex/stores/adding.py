"""From what ``extract_fts`` and ``activate`` wrote to the images of a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.activation.records import (
    RECORDS_FILE,
    read_records,
    recorded_extractor,
    recorded_outcomes,
)
from activeindex.errors import InputError
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    SUFFIXES,
    FeatureFile,
    is_of_activation,
)
from activeindex.identity import same
from activeindex.runtime.files import check_file, check_there, read_lines
from activeindex.runtime.progress import Progress, Silent, counted, listed
from activeindex.stores.generation import Generation
from activeindex.stores.ingest import Part
from activeindex.stores.records import same_code
from activeindex.stores.store import Store

ROWS = 1 << 16
"""Images that are added together; a killed run has added whole parts."""


@dataclass
class Added:
    """What :func:`add_features` came to.

    Attributes:
        count: Images that are in the store now and were not before.
        there: Images whose names were there already, and that were left as they were.
        others: Names of those that are there for another file, or with another code, than their
            record of activation says.
        activated: How many of the new ones were changed before release.
        moved: Names of activated images whose feature has another code than their record says.
    """

    count: int = 0
    there: int = 0
    others: list[str] = field(default_factory=list)
    activated: int = 0
    moved: list[str] = field(default_factory=list)

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


@dataclass(frozen=True)
class Source:
    """Where the images of a store come from.

    Attributes:
        features: The feature file, of the originals.
        names: The file with the names of its rows.
        activation: Their records of activation, if they have any.
    """

    features: Path
    names: Path
    activation: Path | None

    @classmethod
    def of(cls, path: Path, activation: Path | None = None) -> "Source":
        """What a folder of ``activate`` or ``extract_fts`` holds, or lies beside a feature file.

        Records are taken from a folder only: beside a single file they may be of other images.

        Args:
            path: The folder or the feature file.
            activation: The records, where they are not those of the folder.

        Raises:
            InputError: If there is nothing, or a folder without features.
        """
        check_there(path, "FTS", "features, or the folder of activated images")
        if not path.is_dir():
            return cls(path, path.with_name(NAMES_FILE), activation)
        found = [path / f"fts{suffix}" for suffix in SUFFIXES if (path / f"fts{suffix}").is_file()]
        if not found:
            raise InputError(
                f"FTS {path}: expected a folder that activate or extract_fts has finished, with "
                "fts.pt, found none"
            )
        if activation is None and (path / RECORDS_FILE).is_file():
            activation = path / RECORDS_FILE
        if activation is None and is_of_activation(found[0]):
            raise InputError(
                f"FTS {path}: expected {RECORDS_FILE} beside the features of activated images, "
                f"found none; {found[0]} alone is taken without them, or with --activation"
            )
        return cls(found[0], path / NAMES_FILE, activation)


def read_names(path: Path, count: int) -> list[str]:
    """The names of the rows of a feature file, one per line.

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
    path: Path, store: Store, generation: Generation, *, force: bool = False
) -> dict[str, dict[str, Any]]:
    """The records of an ``activation.jsonl`` by the names of the originals.

    Args:
        path: The file.
        store: Where the images are to be added.
        generation: Under which quantiser.
        force: Whether to take records of another quantiser or extractor.

    Raises:
        InputError: If images were activated for another quantiser than the generation's, or
            through another extractor than the store's.
    """
    records, identity = {}, generation.trained.identity
    for record in read_records(check_file(path, "activation")):
        name = str(record.get("name"))
        aims = recorded_outcomes(path, record)
        here = [aim.reached for aim in aims if same(aim.quantiser, identity)]
        if aims and not force:
            if not here:
                found = " and ".join(str(aim.quantiser) for aim in aims)
                raise InputError(
                    f"{path}: {name} was activated for the quantiser {found}, expected "
                    f"{identity}; choose a generation with --index, or --force"
                )
            store.check_extractor(recorded_extractor(path, record))
        # Of several quantisers, what was reached for this one.
        records[name] = {**record, **here[0]} if here else record
    return records


def add_features(
    store: Store,
    features: FeatureFile,
    names: Sequence[str],
    *,
    generation: Generation | None = None,
    activations: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Added:
    """Adds the images of a feature file; killed and started again, it goes on where it was.

    Those of a store with an engine are found after :meth:`~activeindex.stores.Store.index`.

    Args:
        store: Where to.
        features: Of the originals, ``n`` rows; mapped from the disk, never held whole.
        names: ``n`` names. Those that the generation has already are left as they are.
        generation: Under which quantiser the images were, or will be, released; the newest by
            default.
        activations: Records of activation by name; see :func:`read_activations`.
        data_dir: The originals, to hash those that have no record.
        force: Whether to take features of another extractor than the store's, or of other views
            than images were activated for.
        progress: Told of every image.

    Raises:
        InputError: If the features are of another extractor, dimension or number of views, or a
            file is missing.
    """
    if not force:
        store.check_extractor(features.extractor)
        _check_views(features, names, activations or {})
    progress = progress or Silent()
    added, rows = Added(), range(len(names))
    parts = [
        Part.of(names[start : start + ROWS], rows[start : start + ROWS], activations or {})
        for start in range(0, len(names), ROWS)
    ]
    here = generation or store.generations[-1]
    added.others = [name for part in parts for name in _others(part, here)]
    results = store.add_parts(features, parts, generation, data_dir)
    for part, written in zip(parts, results, strict=True):
        added.count += written.count
        added.there += len(part) - written.count
        added.activated += written.activated
        added.moved += written.moved
        progress.advance(len(part))
    return added


def _others(part: Part, generation: Generation) -> list[str]:
    """Names in a generation whose file or code is another than their new record says."""
    there = generation.named([name for name in part.names if name in part.activations])
    if not there:
        return []
    quantiser, found = generation.trained.quantiser, []
    for record in generation.get(np.array(sorted(there.values()), np.int64)):
        new = part.activations[record.name]
        another = None not in (record.sha256, new.get("sha256")) and record.sha256 != new["sha256"]
        code = np.frombuffer(record.code, np.uint8)
        if another or not same_code(code, new.get("code"), quantiser):
            found.append(record.name)
    return found


def _check_views(
    features: FeatureFile, names: Sequence[str], activations: Mapping[str, Mapping[str, Any]]
) -> None:
    """Images that were activated for codes of other features would be looked for elsewhere."""
    if features.descriptor_views is None:
        return
    for name in names:
        record = activations.get(name)
        views = 0 if record is None else record.get("settings", {}).get("descriptor_views", 0)
        if views != features.descriptor_views:
            why = f"since {name} has no record of activation"
            if record is not None:
                why = f"which {name} was activated for"
            raise InputError(
                f"FTS {features.path}: expected features of extract_fts --descriptor_views "
                f"{views}, {why}, found --descriptor_views {features.descriptor_views}; --force "
                "goes on nevertheless"
            )
