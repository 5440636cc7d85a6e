"""Making a calibration: from background pictures, and from edited copies of them."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import torch

from activeindex.decisions.calibration import (
    Background,
    Calibration,
    Features,
    distances_between,
    similarity,
    usual_similarity,
)
from activeindex.decisions.tail import Tail
from activeindex.edits.composition import random_composition
from activeindex.edits.edited import edit_generator
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.identity import ExtractorIdentity
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import to_square
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import add, copied, search, set_nprobe
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import SILENT, Reporter

EDITS = 10
"""Edited copies of each background picture."""
FEWEST = 40
"""Background pictures without which nothing can be calibrated."""
_MOST_PAIRS = 4_000_000
_TOGETHER = 32


class Edited(NamedTuple):
    """Features of edited copies.

    Attributes:
        features: ``(m, d)``.
        owners: ``(m,)``: the place of each copy's picture in the background.
    """

    features: Features
    owners: npt.NDArray[np.int64]


def calibrate(
    trained: TrainedIndex,
    extractor: ExtractorIdentity,
    features: Features,
    edited: Edited,
    *,
    stored: int,
    source: str = "features",
    seed: int = 0,
) -> Calibration:
    """Calibrate the distances of an index on pictures that are not in it.

    One half of the pictures, drawn at random, normalises the scores. Of the other half, edited
    copies are compared with the codes, and with the features, of the other pictures of that half.

    Args:
        trained: The index of the store; what is in it does not matter.
        extractor: The extractor of the features.
        features: ``(n, d)``, of the background pictures.
        edited: Features of edited copies of them.
        stored: Number of images in the store.
        source: Where the pictures are from, for people.
        seed: Of the draw.

    Raises:
        InputError: If there are too few pictures.
        ShapeError: If the features have another dimension than the index.
        MissingExtraError: If scipy is not installed.
    """
    index = copied(trained.index)
    if features.shape[1:] != (index.d,):
        raise ShapeError("features", ("n", index.d), features.shape)
    if len(features) < FEWEST:
        raise InputError(f"background: expected {FEWEST} pictures or more, found {len(features)}")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(features))
    normalising, others = features[order[::2]], np.sort(order[1::2])
    place = np.full(len(features), -1)
    place[others] = np.arange(len(others))
    # Few queries of many pictures are as good as many of few, and fit into memory.
    chosen = generator.permutation(np.flatnonzero(place[edited.owners] >= 0))
    chosen = np.sort(chosen[: max(1, _MOST_PAIRS // len(others))])
    queries, owners = edited.features[chosen], place[edited.owners[chosen]]

    largest_first = bool(index.metric_type == faiss.METRIC_INNER_PRODUCT)
    usual = usual_similarity(queries, normalising, largest_first)[:, None]
    index.reset()
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        set_nprobe(index, inverted.nlist)
    add(index, features[others])
    found = search(index, queries, len(others))
    of_codes = similarity(found.distances, largest_first) - usual
    foreign = (found.ids >= 0) & (found.ids != owners[:, None])
    raw = distances_between(queries, features[others], largest_first)
    of_features = similarity(raw, largest_first) - usual
    different = np.arange(len(others)) != owners[:, None]
    return Calibration(
        extractor,
        trained.identity,
        largest_first,
        normalising,
        Tail.fit(of_codes[foreign]),
        Tail.fit(of_features[different]),
        Background(source, len(features), len(queries), stored),
    )


def edited_features(
    extractor: Extractor,
    paths: Sequence[Path],
    *,
    edits: int = EDITS,
    seed: int = 0,
    workers: LocalEngine | None = None,
    reporter: Reporter = SILENT,
) -> Edited:
    """Extract the features of random compositions of edits of each picture.

    A picture's edits are drawn by its name and the seed.

    Args:
        extractor: The extractor.
        paths: The pictures.
        edits: Copies of each picture.
        seed: Of the edits.
        workers: Worker pool that decodes and edits; this process by default.
        reporter: Shows the progress.

    Raises:
        UnreadableImageError: If a picture cannot be decoded.
        MissingExtraError: If the edits are not installed.
    """
    items = [(path, number) for path in paths for number in range(edits)]
    size, engine = extractor.input_size, workers or LocalEngine()
    squares = engine.map(_edited_square, [(path, size, seed + number) for path, number in items])
    parts: list[Features] = []
    with reporter.stage("edited copies", len(items)) as progress:
        for batch in batches_of(items, _TOGETHER):
            images = torch.from_numpy(np.stack([next(squares) for _ in batch]))
            parts.append(features_of(extractor, images))
            progress.advance(len(batch))
    return Edited(np.concatenate(parts), np.repeat(np.arange(len(paths)), edits))


def _edited_square(item: tuple[Path, int, int]) -> npt.NDArray[np.float32]:
    path, size, seed = item
    generator = edit_generator(seed, zlib.crc32(path.name.encode(errors="surrogateescape")))
    edited: npt.NDArray[np.float32]
    edited = to_square(random_composition(read_rgb(path), generator).image, size).numpy()
    return edited
