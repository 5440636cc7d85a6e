"""What every engine does: keep and search the images of one quantiser."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.extractors.feature_files import FeatureFile
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import Neighbours
from activeindex.runtime.closing import Closing
from activeindex.runtime.pool import Engine
from activeindex.runtime.progress import Progress
from activeindex.stores.ingest import Part, Written
from activeindex.stores.records import Batch, Record

Features = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

TIES = 16
"""Neighbours asked for beyond ``k``, so that images with equal codes at the end of the list are
told apart by their ids and not by the order in which an engine met them."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        k: Neighbours per query.
        nprobe: Inverted lists that are visited.
        refine: 0 orders by the codes; ``r`` orders the ``r * k`` first by the raw features.
        where: A filter in SQL over ``id``, ``name``, ``sha256``, ``psnr``, ``ssim``, ``linf``,
            ``distance_before``, ``distance_after``; None for all images.

    Raises:
        InputError: If a number is out of range.
    """

    k: int = 10
    nprobe: int = 1
    refine: int = 0
    where: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("nprobe", 1), ("refine", 0)):
            if (value := getattr(self, name)) < least:
                raise InputError(f"{name}: expected {least} or more, found {value}")


class Generation(Closing, ABC):
    """The images that were released under one quantiser.

    One process writes at a time, which the store sees to. Whatever is killed, every image is
    afterwards there whole or not at all.

    Args:
        folder: Where the engine keeps its files; made when missing.
        trained: The index that codes.

    Raises:
        InputError: If the engine cannot use an index of this kind.
        MissingExtraError: If the engine is not installed.
    """

    def __init__(self, folder: Path, trained: TrainedIndex) -> None:
        self.folder = folder
        self.trained = trained
        self.quantiser = trained.quantiser

    @property
    def name(self) -> str:
        """Names the quantiser."""
        return str(self.trained.identity)

    @property
    def largest_first(self) -> bool:
        """Whether larger distances are better (inner products)."""
        return bool(self.trained.index.metric_type == faiss.METRIC_INNER_PRODUCT)

    @abstractmethod
    def add(self, ids: Ids, batch: Batch) -> None:
        """Adds images, all or none; ids ``(n,)`` are larger than all before."""

    def write(
        self,
        engine: Engine,
        features: FeatureFile,
        parts: Sequence[tuple[int, Part]],
        data_dir: Path | None = None,
    ) -> Iterator[Written]:
        """Has images coded and written by an engine; they are there when they are committed.

        Args:
            engine: Who computes.
            features: Whose rows they are.
            parts: The id of the first image, larger than all before, and the images, of each part.
            data_dir: The originals, to hash those that have no record of activation.

        Returns:
            What was written of each part, in order.

        Raises:
            InputError: If a file is not there for whoever computes.
            MissingExtraError: If a package is not installed.
        """
        raise NotImplementedError

    def commit(self, written: Written) -> None:
        """Adds the images of a part of :meth:`write`, all or none."""
        raise NotImplementedError

    @abstractmethod
    def remove(self, ids: Ids) -> int:
        """Removes images; returns how many of the ids there were."""

    @abstractmethod
    def get(self, ids: Ids) -> list[Record]:
        """The records of those ids that are there, in ascending order."""

    @abstractmethod
    def features(self, ids: Ids) -> Features:
        """The raw features ``(n, d)`` of ids that are all there, in their order."""

    @abstractmethod
    def named(self, names: Sequence[str]) -> dict[str, int]:
        """The ids of those names that are there."""

    @abstractmethod
    def select(self, where: str) -> Ids:
        """The ids that a filter lets through, ascending.

        Raises:
            InputError: If the filter is malformed.
        """

    @abstractmethod
    def search(self, features: Features, options: SearchOptions) -> Neighbours:
        """The nearest images of each feature ``(n, d)``; equal distances by ascending id."""

    @abstractmethod
    def compact(self, engine: Engine | None = None) -> None:
        """Rewrites the files without what was removed, and for fast searches.

        Args:
            engine: Who rewrites what can be shared out; this process by default.
        """

    @abstractmethod
    def count(self) -> int:
        """How many images there are."""

    def recover(self, engine: Engine | None = None, progress: Progress | None = None) -> None:
        """Finishes what :meth:`add`, or a killed writer, began; called while nobody else writes.

        Until then a search does not find the images.

        Args:
            engine: Who computes; this process by default.
            progress: Told of every part of the index.
        """


def ordered(distances: Features, ids: Ids, k: int, *, largest: bool) -> Neighbours:
    """The ``k`` best of each row, equal distances by ascending id; -1 stands last.

    Args:
        distances: ``(n, m)``.
        ids: ``(n, m)``; -1 for nothing.
        k: At most this many columns are returned, padded with -1 where there are fewer.
        largest: Whether larger is better (inner products).
    """
    worst = np.float32(-np.inf if largest else np.inf)
    keys = np.where(ids < 0, worst, distances)
    order = np.lexsort((np.where(ids < 0, np.iinfo(np.int64).max, ids), -keys if largest else keys))
    order = order[:, :k]
    distances = np.take_along_axis(keys, order, axis=1)
    ids = np.take_along_axis(ids, order, axis=1)
    if (missing := k - ids.shape[1]) > 0:
        distances = np.pad(distances, ((0, 0), (0, missing)), constant_values=worst)
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=-1)
    return Neighbours(distances.astype(np.float32), ids)
