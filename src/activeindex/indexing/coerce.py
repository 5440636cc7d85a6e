"""Quantisers of every index that a Python user has: FAISS indexes, files and folders."""

import hashlib
import os
from collections.abc import Sequence
from typing import TypeAlias

import faiss

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.packaged import default_index
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import emptied, set_nprobe
from activeindex.indexing.unwrap import class_name

IndexLike: TypeAlias = TrainedIndex | Quantiser | faiss.Index | str | os.PathLike[str]
"""A trained index: of this program, of FAISS, or the file or folder of one."""


def as_quantiser(index: IndexLike) -> Quantiser:
    """Return the quantiser of an index of any origin.

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
    if isinstance(index, str | os.PathLike):
        index = TrainedIndex.read(index)
    if isinstance(index, TrainedIndex):
        return index.quantiser
    if isinstance(index, Quantiser):
        return index
    if not isinstance(index, faiss.Index):
        raise InputError(
            "index: expected a trained index, its file or its folder, found a "
            f"{type(index).__name__}"
        )
    quantiser = Quantiser(emptied(index))
    # That of the file that FAISS writes of the index before anything is added to it.
    set_nprobe(quantiser.index, 1)
    sha256 = hashlib.sha256(faiss.serialize_index(quantiser.index).tobytes()).hexdigest()
    quantiser.identity = QuantiserIdentity(class_name(index), sha256)
    return quantiser


def resolve_quantisers(
    index: IndexLike | Sequence[IndexLike] | None, extractor: Extractor
) -> tuple[Quantiser, ...]:
    """Return the quantisers of one index or several, for the features of an extractor.

    None stands for the index that ships with the package.

    Raises:
        InputError: If there is none, one is something else, was trained on the features of another
            extractor, or takes features of another dimension.
    """
    if index is None:
        index = default_index(extractor.identity)
    given = list(index) if isinstance(index, Sequence) and not isinstance(index, str) else [index]
    if not given:
        raise InputError("index: expected one or more, found none")
    quantisers = []
    for each in given:
        if isinstance(each, str | os.PathLike):
            each = TrainedIndex.read(each)
        if isinstance(each, TrainedIndex):
            each.check_extractor(extractor.identity, extractor.dimension)
        quantiser = as_quantiser(each)
        if quantiser.dimension != extractor.dimension:
            raise InputError(
                f"index: expected one of features of {extractor.identity}, of dimension "
                f"{extractor.dimension}, found dimension {quantiser.dimension}"
            )
        quantisers.append(quantiser)
    return tuple(quantisers)
