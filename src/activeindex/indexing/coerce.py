"""Indexes from whatever a Python user has: features, FAISS indexes, files and folders."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError, reason_of
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import ImageFeatures
from activeindex.extractors.feature_files import SUFFIXES, FeatureFile, read_features
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.artefact import TrainedIndex, train
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import Metric

IndexLike: TypeAlias = TrainedIndex | Quantiser | faiss.Index | str | os.PathLike[str]
"""A trained index: of this program, of FAISS, or the file or folder of one."""

FeaturesLike: TypeAlias = ImageFeatures | FeatureFile | npt.ArrayLike | str | os.PathLike[str]
"""Features of :func:`activeindex.extract`, a matrix ``(n, d)``, or a feature file or its folder."""


_PROBE = 1024
"""Vectors that tell indexes in memory apart."""


def as_features(features: FeaturesLike, option: str) -> FeatureFile | ImageFeatures:
    """Features of any kind, with their extractor where it is known.

    Args:
        features: Those of :func:`activeindex.extract`, a matrix ``(n, d)`` of finite numbers, a
            feature file, or the folder that ``activeindex extract_fts`` wrote it in.
        option: Name of the argument, for the messages.

    Raises:
        InputError: If they are something else, or not finite.
        ShapeError: If they are not a matrix.
    """
    if isinstance(features, FeatureFile | ImageFeatures):
        return features
    if isinstance(features, str | os.PathLike):
        path = Path(features)
        if path.is_dir():
            files = [path / f"fts{suffix}" for suffix in SUFFIXES]
            path = next((file for file in files if file.is_file()), files[0])
        return read_features(path, option)
    try:
        values = np.ascontiguousarray(features, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{option}: expected a matrix (n, d) of numbers ({reason_of(error)})"
        ) from None
    if np.ndim(features) != 2:
        raise ShapeError(option, ("n", "d"), np.shape(features))
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise InputError(f"{option}: expected finite values, found NaN or infinity in row {row}")
    return ImageFeatures(values)


def train_index(
    features: FeaturesLike,
    factory: str,
    metric: Metric = "L2",
    *,
    edited: Sequence[FeaturesLike] = (),
) -> TrainedIndex:
    """Trains an empty index on features; ``.save(folder)`` keeps it.

    Args:
        features: What :func:`activeindex.extract` returns, a matrix ``(n, d)`` of finite numbers,
            or a feature file; at least as many as the index has centroids.
        factory: A FAISS factory string (``"IVF64,PQ8x8"``), with ``NAP16,`` before it for an index
            that does not see what edits do.
        metric: ``"L2"`` or ``"IP"``.
        edited: For ``NAP``, features of edited copies of the same images.

    Raises:
        InputError: If there is no such index, or the features cannot train it.
        ShapeError: If the features are not a matrix.
        NoTargetError: If the index has no reconstructions to aim at.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(300, 16))
        >>> index = train_index(features, "IVF4,PQ4x4np")
        >>> index.quantiser.encode(features[:2].astype("float32")).shape
        (2, 3)
    """
    copies = [as_features(each, "edited") for each in edited]
    return train(as_features(features, "features"), factory, metric, copies)


def as_quantiser(index: IndexLike) -> Quantiser:
    """The codes and reconstructions of an index, whoever made it.

    Args:
        index: A trained FAISS index of any kind that stores codes, with or without vectors in it,
            which are left as they are; an index file; a folder of ``activeindex train_index``; or a
            :class:`~activeindex.indexing.artefact.TrainedIndex`.

    Raises:
        InputError: If it is something else, or there is no such file.
        NoTargetError: If the index is not trained, or has no reconstructions.

    Example:
        >>> import faiss, numpy as np
        >>> features = np.random.default_rng(0).normal(size=(300, 16)).astype("float32")
        >>> index = faiss.index_factory(16, "IDMap,PCA8,IVF4,PQ4x4np")
        >>> index.train(features)
        >>> as_quantiser(index).reconstruct(features[:2]).shape
        (2, 16)
    """
    if isinstance(index, Quantiser):
        return index
    if isinstance(index, TrainedIndex):
        return index.quantiser
    if isinstance(index, faiss.Index):
        return Quantiser(index, _identity_of(index))
    if isinstance(index, str | os.PathLike):
        return TrainedIndex.read(Path(index)).quantiser
    raise InputError(
        f"index: expected a trained index, its file or its folder, found a {type(index).__name__}"
    )


def _identity_of(index: faiss.Index) -> QuantiserIdentity:
    """Identity of an index in memory: the hash of the codes that it gives to a fixed probe.

    The vectors in it, of which there may be billions, have no part in it.
    """
    quantiser = Quantiser(index)
    probe = np.random.default_rng(0).normal(size=(_PROBE, index.d)).astype(np.float32)
    codes = quantiser.encode(probe / np.linalg.norm(probe, axis=1, keepdims=True))
    kind = type(faiss.downcast_index(index)).__name__
    return QuantiserIdentity(kind, hashlib.sha256(codes.tobytes()).hexdigest())


def resolve_quantisers(
    index: IndexLike | Sequence[IndexLike], extractor: Extractor
) -> tuple[Quantiser, ...]:
    """The quantisers of one index or several, of the features of an extractor.

    Raises:
        InputError: If there is none, one is something else, or was trained on the features of
            another extractor.
        ShapeError: If the features have another dimension than an index.
    """
    given = list(index) if isinstance(index, Sequence) and not isinstance(index, str) else [index]
    if not given:
        raise InputError("index: expected one or more, found none")
    read = [
        TrainedIndex.read(Path(each)) if isinstance(each, str | os.PathLike) else each
        for each in given
    ]
    for each in read:
        if isinstance(each, TrainedIndex):
            each.check_extractor(extractor.identity, extractor.dimension)
    quantisers = tuple(as_quantiser(each) for each in read)
    for quantiser in quantisers:
        if quantiser.dimension != extractor.dimension:
            raise InputError(
                f"index: expected one of features of {extractor.identity}, of dimension "
                f"{extractor.dimension}, found dimension {quantiser.dimension}"
            )
    return quantisers
