"""A trained index as an artefact: one small folder from which activation needs nothing else."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.identity import ExtractorIdentity, QuantiserIdentity, check_extractors, same
from activeindex.indexing.index_files import check_same_kind, index_path, read_index
from activeindex.indexing.manifest import Manifest, library_versions
from activeindex.indexing.nap import check_wanted
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import Metric, train_index
from activeindex.runtime.files import (
    check_there,
    check_writable,
    file_hash,
    output_error,
    whole_file,
)

INDEX_FILE = "index.faiss"
MANIFEST_FILE = "manifest.json"


class TrainingFeatures(Protocol):
    """Features that an index is trained on, and where they come from."""

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """``(n, d)``."""

    @property
    def extractor(self) -> ExtractorIdentity | None:
        """Their extractor, if it is known."""

    def hash(self) -> str:
        """SHA-256 of the values."""


@dataclass(frozen=True)
class TrainedIndex:
    """A trained, empty index and what is known of it.

    Attributes:
        path: Its FAISS file; None until it is saved.
        index: The index.
        manifest: What it was made of; None for a file of another program.
        identity: What identifies it.
    """

    path: Path | None
    index: faiss.Index
    manifest: Manifest | None
    identity: QuantiserIdentity

    @property
    def quantiser(self) -> Quantiser:
        """Its quantiser.

        Raises:
            NoTargetError: If the index has no reconstructions.
        """
        return Quantiser(self.index, self.identity)

    @classmethod
    def read(cls, path: Path) -> "TrainedIndex":
        """Reads the folder that :func:`train_folder` wrote, or a FAISS file.

        Raises:
            InputError: If there is no trained index, or it is not the one of its manifest.
        """
        check_there(path, "index", "a trained index, folder or file")
        if path.is_dir():
            file, manifest_file = path / INDEX_FILE, path / MANIFEST_FILE
            for part in (file, manifest_file):
                if not part.is_file():
                    raise InputError(f"{path}: expected a folder with {part.name}, found none")
        else:
            file, manifest_file = path, path.with_suffix(".json")
        index, sha256 = read_index(file), file_hash(file)
        if not manifest_file.is_file():
            return cls(file, index, None, QuantiserIdentity(file.name, sha256))
        manifest = Manifest.read(manifest_file)
        if manifest.sha256 != sha256:
            raise InputError(
                f"{file}: expected the index of {manifest_file} with SHA-256 {manifest.sha256}, "
                f"found {sha256}; delete both files, or put the right one back"
            )
        return cls(file, index, manifest, manifest.identity)

    def __str__(self) -> str:
        return str(self.path or self.identity)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the folder that :meth:`read` reads, whole or not at all.

        Raises:
            InputError: If the folder holds another index, or this one has no manifest.
        """
        folder = Path(folder)
        if self.manifest is None:
            raise InputError(
                f"{self}: expected an index of train_index, found one without manifest"
            )
        if folder.exists():
            there = TrainedIndex.read(folder)
            if there.identity != self.identity:
                raise InputError(
                    f"{folder}: expected no folder, or one of {self.identity}, found "
                    f"{there.identity}; give another folder"
                )
            return
        check_writable(folder.parent)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        try:
            beside.mkdir(parents=True)
            self.manifest.write(beside / MANIFEST_FILE)
            with whole_file(beside / INDEX_FILE) as file:
                faiss.serialize_index(self.index).tofile(file)
            beside.rename(folder)
        except OSError as error:
            raise output_error(folder, error) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @property
    def extractor(self) -> ExtractorIdentity | None:
        """The extractor of the features that it was trained on, if that is known."""
        return None if self.manifest is None else self.manifest.extractor

    def check_extractor(
        self, extractor: ExtractorIdentity | None, dimension: int | None = None
    ) -> None:
        """Checks that the index was trained on features of an extractor, if that is known.

        Args:
            extractor: Of the features.
            dimension: Of its features; the index's by default.

        Raises:
            InputError: If it was trained on those of another one.
        """
        here = self.index.d
        check_extractors(self, self.extractor, extractor, (here, dimension or here))


@dataclass(frozen=True)
class _Recipe:
    """What an index is made of; see :func:`~activeindex.indexing.training.train_index`."""

    features: TrainingFeatures
    factory: str
    metric: Metric
    edited: Sequence[TrainingFeatures]

    def __post_init__(self) -> None:
        if self.edited:
            check_wanted(self.factory, self.edited)

    def train(self) -> faiss.Index:
        """The index, trained; raises InputError where that is impossible."""
        wanted = self.features.extractor
        for each in self.edited:
            if not same(wanted, each.extractor):
                raise InputError(
                    f"fts_edited_path: expected features of {wanted}, as in fts_training_path, "
                    f"found features of {each.extractor}"
                )
        copies = [each.values for each in self.edited]
        return train_index(self.features.values, self.factory, self.metric, copies)

    def manifest(self, index: faiss.Index) -> Manifest:
        """The manifest of the index that was trained."""
        return Manifest(
            idx_factory=self.factory,
            quant=self.metric,
            dimension=index.d,
            extractor=self.features.extractor,
            training_features=len(self.features.values),
            training_sha256=self.features.hash(),
            sha256=hashlib.sha256(faiss.serialize_index(index).tobytes()).hexdigest(),
            libraries=library_versions(),
            edited_sha256=[each.hash() for each in self.edited],
        )

    def hashes(self) -> str | None:
        """Of the features of edited copies, if there are any; their order does not matter."""
        return " ".join(sorted(each.hash() for each in self.edited)) or None


def train_folder(
    folder: Path,
    features: TrainingFeatures,
    factory: str,
    metric: Metric,
    edited: Sequence[TrainingFeatures] = (),
) -> TrainedIndex:
    """Trains an index and writes it with its manifest; the folder appears whole or not at all.

    Args:
        folder: Where to; if it is there already, it must hold the same.
        features: What to train on.
        factory: A factory string; see :func:`~activeindex.indexing.training.new_index`.
        metric: ``"L2"`` or ``"IP"``.
        edited: Features of edited copies of the same images, if the factory string asks for them.

    Raises:
        InputError: If training is impossible, or the folder holds something else.
        NoTargetError: If the index has no reconstructions to aim at.
    """
    recipe = _Recipe(features, factory, metric, edited)
    if folder.exists():
        there = TrainedIndex.read(folder)
        _check_made_of(there, recipe, "give another folder")
        return there
    check_writable(folder.parent)
    _trained(recipe).save(folder)
    return TrainedIndex.read(folder)


def train(
    features: TrainingFeatures,
    factory: str,
    metric: Metric,
    edited: Sequence[TrainingFeatures] = (),
) -> TrainedIndex:
    """Trains an index in memory; see :func:`train_folder`."""
    return _trained(_Recipe(features, factory, metric, edited))


def _trained(recipe: _Recipe) -> TrainedIndex:
    index = recipe.train()
    Quantiser(index)  # Refused before anything is written.
    manifest = recipe.manifest(index)
    return TrainedIndex(None, index, manifest, manifest.identity)


def load_or_train(
    idx_dir: Path,
    factory: str,
    metric: Metric,
    features: TrainingFeatures,
    edited: Sequence[TrainingFeatures] = (),
    *,
    any_origin: bool = False,
) -> TrainedIndex:
    """The trained index of a factory string in ``idx_dir``; trained when it is not there yet.

    A file that is there must be what ``factory``, ``metric`` and the features' dimension say, and
    where its manifest lies beside it (``.json``) it must have been trained on the same features.

    Args:
        idx_dir: Where indexes are kept; see :func:`index_path`.
        factory: A FAISS factory string.
        metric: ``"L2"`` or ``"IP"``.
        features: What it is, or should have been, trained on.
        edited: Features of edited copies of the same images, if the factory string asks for them.
        any_origin: Whether to take an index that was trained on other features.

    Raises:
        InputError: If the file is another index than asked for, or training is impossible.
    """
    path, recipe = index_path(idx_dir, factory, metric), _Recipe(features, factory, metric, edited)
    if path.exists():
        trained = TrainedIndex.read(path)
        check_same_kind(path, trained.index, factory, metric, features.values.shape[1])
        if not any_origin:
            _check_made_of(trained, recipe, "give another idx_dir")
        return trained
    check_writable(idx_dir)
    index = recipe.train()
    # The manifest comes first: an index without one would pass for trained by another program.
    recipe.manifest(index).write(path.with_suffix(".json"))
    with whole_file(path) as beside:
        faiss.serialize_index(index).tofile(beside)
    return TrainedIndex.read(path)


def _check_made_of(trained: TrainedIndex, recipe: _Recipe, advice: str) -> None:
    if trained.manifest is None:
        return
    manifest, features = trained.manifest, recipe.features
    # A note that 0.1 wrote differs as text: the identity of the same extractor is the wanted one.
    extractors = manifest.extractor, features.extractor
    found_extractor = features.extractor if same(*extractors) else manifest.extractor
    for name, found, wanted in (
        ("idx_factory", manifest.idx_factory, recipe.factory),
        ("quant", manifest.quant, recipe.metric),
        ("extractor", found_extractor, features.extractor),
        ("training_sha256", manifest.training_sha256, features.hash()),
        # Once it is trained, nobody has to keep the copies.
        ("edited_sha256", " ".join(sorted(manifest.edited_sha256)), recipe.hashes()),
    ):
        if None not in (found, wanted) and found != wanted:
            raise InputError(
                f"{trained}: expected an index trained with {name} {wanted}, found {found}; "
                f"{advice}, or what it was trained with"
            )
