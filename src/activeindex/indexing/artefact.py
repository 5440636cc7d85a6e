"""A trained index as an artefact: its file, its manifest, and the checks before it is used again.

A folder holds ``index.faiss`` and ``manifest.json``, and activation needs nothing else. A cache
folder of ``activeindex main`` holds pairs of files instead, named after factory string and metric.
"""

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import faiss
import numpy as np

from activeindex import __version__
from activeindex.errors import InputError
from activeindex.extractors.feature_files import (
    FeatureFile,
    FeaturesLike,
    ImageFeatures,
    as_features,
)
from activeindex.identity import ExtractorIdentity, QuantiserIdentity, check_extractors, same
from activeindex.indexing.factory import without_spaces
from activeindex.indexing.nap import check_wanted
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.reading import read_index
from activeindex.indexing.training import MANY, Metric, new_index, train_apart
from activeindex.indexing.unwrap import inner_index, transforms_of
from activeindex.runtime.files import (
    Types,
    check_file,
    check_there,
    check_writable,
    file_hash,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)
from activeindex.runtime.reporting import SILENT, Reporter

INDEX_FILE = "index.faiss"
MANIFEST_FILE = "manifest.json"

_CLASSES_IN_FILES = {
    "IndexFlatL2": "IndexFlat",
    "IndexFlatIP": "IndexFlat",
    "OPQMatrix": "LinearTransform",
}
"""FAISS builds some kinds as one class and reads them from a file as another."""

_MANIFEST_TYPES: Types = {
    **dict.fromkeys(("idx_factory", "quant", "training_sha256", "sha256"), str),
    **dict.fromkeys(("dimension", "training_features"), int),
    **{"libraries": dict, "edited_sha256": list},
}

TrainingFeatures: TypeAlias = FeatureFile | ImageFeatures


@dataclass(frozen=True)
class Manifest:
    """The origin of a trained index.

    Attributes:
        idx_factory: FAISS factory string.
        quant: Metric, ``L2`` or ``IP``.
        dimension: Number of values in a feature.
        extractor: The extractor of the training features, if it is known.
        training_features: Number of training features.
        training_sha256: Hash of their values.
        sha256: Hash of the FAISS file.
        libraries: Versions of the libraries that trained it.
        edited_sha256: Hashes of the features of edited copies, for ``NAP``.
    """

    idx_factory: str
    quant: Metric
    dimension: int
    extractor: ExtractorIdentity | None
    training_features: int
    training_sha256: str
    sha256: str
    libraries: dict[str, str]
    edited_sha256: list[str] = field(default_factory=list)

    @property
    def identity(self) -> QuantiserIdentity:
        """The identity of the index."""
        return QuantiserIdentity(f"{self.idx_factory} {self.quant}", self.sha256)

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            InputError: If the file is not one.
        """
        value = read_json(path, _MANIFEST_TYPES)
        required = [each.name for each in fields(cls) if each.default_factory is MISSING]
        missing = [name for name in required if name not in value]
        if missing:
            raise InputError(
                f"{path}: expected the manifest of an index, found no {', '.join(missing)}"
            )
        known = {each.name: value[each.name] for each in fields(cls) if each.name in value}
        extractor = ExtractorIdentity.from_json(
            known["extractor"], value.get("extractor_sha256"), where=path
        )
        return cls(**{**known, "extractor": extractor})


def library_versions() -> dict[str, str]:
    """Return the versions that the codes of an index may depend on."""
    return {
        "activeindex": __version__,
        "faiss": faiss.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class TrainedIndex:
    """A trained, empty index and its origin.

    Attributes:
        path: Its FAISS file; None until it is saved.
        index: The index.
        manifest: Its origin; None for a file of another program.
        identity: Its identity.
    """

    path: Path | None
    index: faiss.Index
    manifest: Manifest | None
    identity: QuantiserIdentity

    def __str__(self) -> str:
        return str(self.path or self.identity)

    @property
    def quantiser(self) -> Quantiser:
        """The quantiser of the index.

        Raises:
            NoTargetError: If the index has no reconstructions.
        """
        return Quantiser(self.index, self.identity)

    @property
    def extractor(self) -> ExtractorIdentity | None:
        """The extractor of its training features, if it is known."""
        return None if self.manifest is None else self.manifest.extractor

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TrainedIndex":
        """Read the folder of ``activeindex train_index`` or of :meth:`save`, or a FAISS file.

        Raises:
            InputError: If there is no trained index, or it is not the one of its manifest.
        """
        path = Path(path)
        check_there(path, "index", "a trained index, folder or file")
        if path.is_dir():
            file, manifest_file = path / INDEX_FILE, path / MANIFEST_FILE
            for part in (file, manifest_file):
                if not part.is_file():
                    raise InputError(f"{path}: expected a folder with {part.name}, found none")
        else:
            file, manifest_file = path, path.with_suffix(".json")
        sha256 = file_hash(check_file(file, "index"))
        index = read_index(file, sha256)
        if not manifest_file.is_file():
            return cls(file, index, None, QuantiserIdentity(file.name, sha256))
        manifest = Manifest.read(manifest_file)
        if manifest.sha256 != sha256:
            raise InputError(
                f"{file}: expected the index of {manifest_file} with SHA-256 {manifest.sha256}, "
                f"found {sha256}; delete both files, or put the right one back"
            )
        return cls(file, index, manifest, manifest.identity)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the folder that :meth:`read` reads, whole or not at all.

        Args:
            path: The folder; or a file that ends in ``.index``, which gets a manifest beside it.

        Raises:
            InputError: If the folder holds another index, or this one has no manifest.
        """
        path = Path(path)
        if self.manifest is None:
            raise InputError(
                f"{self}: expected an index of train_index, found one without manifest"
            )
        if path.exists():
            there = TrainedIndex.read(path)
            if there.identity != self.identity:
                raise InputError(
                    f"{path}: expected no folder, or one of {self.identity}, found "
                    f"{there.identity}; give another folder"
                )
            return
        if path.suffix == ".index":
            self._write(self.manifest, path, path.with_suffix(".json"))
            return
        with whole_folder(path) as beside:
            self._write(self.manifest, beside / INDEX_FILE, beside / MANIFEST_FILE)

    def _write(self, manifest: Manifest, file: Path, manifest_file: Path) -> None:
        # The manifest comes first: an index without one would pass for trained by another program.
        manifest.write(manifest_file)
        with whole_file(file) as beside:
            faiss.serialize_index(self.index).tofile(beside)

    def check_extractor(
        self, extractor: ExtractorIdentity | None, dimension: int | None = None
    ) -> None:
        """Check that the index was trained on features of an extractor, if that is known.

        Args:
            extractor: Of the features.
            dimension: Of the features; the index's by default.

        Raises:
            InputError: If it was trained on those of another one.
        """
        here = self.index.d
        check_extractors(self, self.extractor, extractor, (here, dimension or here))

    def check_origin(self, wanted: Manifest, advice: str) -> None:
        """Check that the index was trained as ``wanted`` says, as far as both are known.

        Raises:
            InputError: If it was not; the message ends in ``advice``.
        """
        if self.manifest is None:
            return
        found = self.manifest
        if same(found.extractor, wanted.extractor):  # One that 0.1 wrote may differ in its fields.
            found = replace(found, extractor=wanted.extractor)
        for name in ("idx_factory", "quant", "extractor", "training_sha256", "edited_sha256"):
            here, there = getattr(wanted, name), getattr(found, name)
            if name == "edited_sha256":  # The order of the copies does not matter.
                here, there = " ".join(sorted(here)), " ".join(sorted(there))
                # Once the index is trained, the copies may be gone.
                here = here or there
            if here != there:
                raise InputError(
                    f"{self}: expected an index trained with {name} {here}, found {there}; "
                    f"{advice}, or what it was trained with"
                )


def train_index(
    features: FeaturesLike,
    factory: str = "IVF64,PQ8x8",
    metric: Metric = "L2",
    edited: Sequence[FeaturesLike] = (),
    *,
    polysemous: bool = False,
    reporter: Reporter = SILENT,
) -> TrainedIndex:
    """Train an empty index on features; ``.save(folder)`` keeps it.

    It is trained in a child process, which Ctrl-C ends at once.

    Args:
        features: Features of :func:`activeindex.extract`, a matrix ``(n, d)`` of finite numbers, or
            a feature file; at least as many as the index has centroids.
        factory: A FAISS factory string, with ``NAP16,`` before it for an index that ignores the
            directions that edits move features along (:mod:`activeindex.indexing.nap`).
        metric: ``"L2"`` or ``"IP"`` (inner product).
        edited: For ``NAP``, features of edited copies of the same images.
        polysemous: Whether to number the centroids of product quantisers for polysemous search
            (:func:`~activeindex.indexing.training.train_faiss`).
        reporter: Gets the progress of a training that takes more than two seconds.

    Raises:
        InputError: If there is no such index, or the features cannot train it.
        ShapeError: If the features are not a matrix.
        NoTargetError: If the index has no reconstructions to aim at.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(300, 16))
        >>> index = train_index(features, "IVF4,PQ4x4np")
        >>> index.quantiser.encode(features[:2].astype("float32")).shape
        (2, 3)
    """
    training = as_features(features, "features")
    copies = [as_features(each, "edited") for each in edited]
    for each in copies:
        if not same(training.extractor, each.extractor):
            raise InputError(
                f"fts_edited_path: expected features of {training.extractor}, as in "
                f"fts_training_path, found features of {each.extractor}"
            )
    factory = without_spaces(factory)
    values = [each.values for each in copies]
    index = train_apart(
        training.values, factory, metric, values, polysemous=polysemous, reporter=reporter
    )
    Quantiser(index)  # Refused before anything is written.
    sha256 = hashlib.sha256(faiss.serialize_index(index).tobytes()).hexdigest()
    manifest = _manifest(training, factory, metric, copies, sha256)
    return TrainedIndex(None, index, manifest, manifest.identity)


def _manifest(
    features: TrainingFeatures,
    factory: str,
    metric: Metric,
    edited: Sequence[TrainingFeatures],
    sha256: str = "",
) -> Manifest:
    """Return the manifest of an index; its hash is not known before it is trained."""
    return Manifest(
        idx_factory=factory,
        quant=metric,
        dimension=features.values.shape[1],
        extractor=features.extractor,
        training_features=len(features.values),
        training_sha256=features.hash(),
        sha256=sha256,
        libraries=library_versions(),
        edited_sha256=[each.hash() for each in edited],
    )


def load_or_train(
    path: Path,
    features: TrainingFeatures,
    factory: str,
    metric: Metric = "L2",
    edited: Sequence[TrainingFeatures] = (),
    *,
    any_origin: bool = False,
    polysemous: bool = False,
    reporter: Reporter = SILENT,
) -> TrainedIndex:
    """Read a trained index, or train and save it where there is none.

    One that is there must have been trained on the same features, if it has a manifest; a file must
    be empty and what ``factory``, ``metric`` and the features' dimension say.

    Args:
        path: Folder or FAISS file of the index; see :func:`index_path` for one in a cache.
        features: See :func:`train_index`.
        factory: See :func:`train_index`.
        metric: See :func:`train_index`.
        edited: See :func:`train_index`.
        any_origin: Whether to take an index that was trained on other features.
        polysemous: See :func:`train_index`.
        reporter: See :func:`train_index`.

    Raises:
        InputError: If training is impossible, or there is another index.
        NoTargetError: If the index has no reconstructions to aim at.
    """
    factory = without_spaces(factory)
    if edited:
        check_wanted(factory, edited)
    if not path.exists():
        check_writable(path.parent)
        train_index(
            features, factory, metric, edited, polysemous=polysemous, reporter=reporter
        ).save(path)
        return TrainedIndex.read(path)
    there, place = TrainedIndex.read(path), "folder"
    if there.path == path:
        check_same_kind(path, there.index, factory, metric, features.values.shape)
        place = "idx_dir"
    if not any_origin:
        wanted = _manifest(features, factory, metric, edited)
        there.check_origin(wanted, f"give another {place}")
    return there


def index_path(idx_dir: Path, factory: str, metric: Metric) -> Path:
    """Return the path of the trained index of a factory string in a cache folder."""
    return idx_dir / f"idx={without_spaces(factory)}_quant={metric}.index"


def check_same_kind(
    path: Path, index: faiss.Index, factory: str, metric: Metric, shape: tuple[int, ...]
) -> None:
    """Check that an index is trained, empty and of a factory string and metric.

    Args:
        path: Its file.
        index: The index.
        factory: The factory string.
        metric: The metric.
        shape: ``(n, d)`` of the features that would train it.

    Raises:
        InputError: If it is not, naming ``path``.
    """
    advice = "delete it, or give another idx_dir"
    count, dimension = shape
    if index.d != dimension:
        raise InputError(
            f"{path}: expected an index for features of dimension {dimension}, "
            f"found dimension {index.d}; {advice}"
        )
    # Those that trained the one that is there may have been more.
    wanted_index = new_index(factory, dimension, metric, max(count, MANY))
    expected, found = (_structure(i) for i in (wanted_index, index))
    for name, wanted in expected.items():
        if wanted != found[name]:
            raise InputError(f"{path}: expected {name} {wanted}, found {found[name]}; {advice}")
    if not index.is_trained or index.ntotal:
        state = f"{index.ntotal} vectors in it" if index.is_trained else "an untrained one"
        raise InputError(f"{path}: expected a trained, empty index, found {state}; {advice}")


def _structure(index: faiss.Index) -> dict[str, Any]:
    """Describe an index by everything that a factory string, a metric and a size decide."""
    metrics = {faiss.METRIC_L2: "L2", faiss.METRIC_INNER_PRODUCT: "IP"}
    inner: Any = faiss.downcast_index(index)
    kinds = [_class_in_file(inner)]
    while (lower := inner_index(inner)) is not None:
        kinds += [_class_in_file(transform) for transform in transforms_of(inner)]
        inner = lower
        kinds.append(_class_in_file(inner))
    pq = getattr(inner, "pq", None)
    lists = isinstance(inner, faiss.IndexIVF)
    coarse = _class_in_file(faiss.downcast_index(inner.quantizer)) if lists else "none"
    return {
        "metric": metrics.get(index.metric_type, str(index.metric_type)),
        "type": " > ".join(kinds),
        "inner dimension": inner.d,
        "inverted lists": inner.nlist if lists else 0,
        "coarse quantiser": coarse,
        "bytes per code": getattr(inner, "code_size", 0),
        "product quantiser": "none" if pq is None else f"{pq.M}x{pq.nbits}",
    }


def _class_in_file(part: object) -> str:
    """Return the class of an index or a transform, the same before writing and after reading."""
    name = type(part).__name__
    return _CLASSES_IN_FILES.get(name, name)
