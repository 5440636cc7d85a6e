"""The collection that benchmarks of copies measure on: photographs among references.

Made after the extraction of docs/reproduce.md. Settings are chosen on the photographs with even
numbers and reported on those with odd ones.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.activation.activate import activate_pictures
from activeindex.activation.results import ActivationResult
from activeindex.activation.settings import Preset
from activeindex.edits.lists import FIXED_LIST
from activeindex.experiment.queries import QueryJob, QueryTask
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_copies, read_features
from activeindex.extractors.features import ExtractionJob
from activeindex.extractors.named import load_extractor
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels, to_tensor
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import add, search, set_nprobe
from activeindex.runtime.pool import LocalEngine

Array = npt.NDArray[np.float32]
Hits = npt.NDArray[np.bool_]

HALVES = ("chosen on", "reported")


def add_options(parser: argparse.ArgumentParser, model_name: str, images: int) -> None:
    """Adds the options that a collection is made of, with these defaults."""
    for name in ("data_dir", "fts_training_path", "fts_reference_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--fts_edited_path", type=Path, nargs="*", default=[], help="for NAP")
    parser.add_argument("--model_name", default=model_name, help="or a file")
    parser.add_argument("--resize_size", type=int, help="side of the squares that it takes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--half", choices=HALVES, default="reported")


@dataclass(frozen=True)
class Collection:
    """Photographs to activate, what they are found among, and the extractor.

    Attributes:
        extractor: Maps images to features.
        workers: Edit images; to be closed.
        training: Features ``(n, d)`` of other images.
        copies: Of edited copies of these, ``(n, d)`` each; for indexes that begin with NAP.
        references: Features of images that nobody looks for.
        paths: All photographs.
        originals: Their features, which come after the references in an index.
        numbers: Those that are activated and looked for, as places in ``paths``.
        pixels: Their pixels.
    """

    extractor: Extractor
    workers: LocalEngine
    training: Array
    copies: list[Array]
    references: Array
    paths: list[Path]
    originals: Array
    numbers: npt.NDArray[np.int64]
    pixels: list[Pixels]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """Collection that the options of :func:`add_options` name."""
        extractor = load_extractor(options.model_name, options.resize_size).to(options.device)
        workers, paths = LocalEngine(1), list_images(options.data_dir)
        training = read_features(options.fts_training_path, "fts_training_path")
        numbers = np.arange(HALVES.index(options.half), len(paths), 2)[: options.images]
        return cls(
            extractor,
            workers,
            training.values,
            [each.values for each in read_copies(options.fts_edited_path, training)],
            read_features(options.fts_reference_path, "fts_reference_path").values,
            paths,
            features_of_all(paths, extractor, workers),
            numbers,
            [read_pixels(paths[number]) for number in numbers],
        )

    @property
    def database(self) -> Array:
        """The features that an index holds."""
        return np.concatenate([self.references, self.originals])

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The places ``(n,)`` of the photographs in the database."""
        return len(self.references) + self.numbers

    def activated(self, indexes: Sequence[faiss.Index], preset: Preset) -> ActivationResult:
        """The photographs, activated for all of these indexes."""
        return activate_pictures(
            [to_tensor(image) for image in self.pixels],
            self.extractor,
            [Quantiser(index) for index in indexes],
            preset.settings,
            release=preset.release,
            numbers=self.numbers.tolist(),
        )

    def edited(self, images: Iterable[Pixels], extractor: Extractor | None = None) -> Array:
        """The features of their edited copies, see :func:`edited_features`."""
        return edited_features(images, extractor or self.extractor, self.workers)


def features_of_all(paths: Sequence[Path], extractor: Extractor, workers: LocalEngine) -> Array:
    """The features ``(n, d)`` of files."""
    batches = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    extracted = list(ExtractionJob(extractor)(batches, workers))
    for batch in extracted:
        batch.check("refuse")
    return np.concatenate([batch.features for batch in extracted])


def edited_features(images: Iterable[Pixels], extractor: Extractor, workers: LocalEngine) -> Array:
    """``(edits * n, d)``: the fixed list of edits, each of all images."""
    listed = list(images)
    tasks = [QueryTask(p, edit, n) for edit in FIXED_LIST for n, p in enumerate(listed)]
    queries, _ = next(QueryJob(extractor, 64, 0)([tasks], workers))
    return np.stack([query.feature for query in queries])


def filled(trained: faiss.Index, database: Array) -> faiss.Index:
    """A copy of an index that holds these features and looks into one list."""
    index = faiss.clone_index(trained)
    add(index, database)
    set_nprobe(index, 1)
    return index


def hits(index: faiss.Index, queries: Array, ids: npt.NDArray[np.int64]) -> Hits:
    """Hits ``(edits, n)``: True where a query of :func:`edited_features` finds its image first."""
    found: Hits = search(index, queries, 1).ids[:, 0].reshape(-1, len(ids)) == ids
    return found
