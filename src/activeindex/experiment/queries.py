"""Queries: images edited in worker processes, brought to the extractor's size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.edits.edited import EditedImage, edit_generator
from activeindex.edits.named import Edit
from activeindex.errors import ActiveIndexError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import Pixels
from activeindex.images.resizing import to_square
from activeindex.runtime.pool import LocalEngine


@dataclass(frozen=True)
class QueryTask:
    """An image to edit.

    Attributes:
        image: Its pixels, or the file to read them from.
        edit: What is done to it.
        number: Its number, which seeds random edits together with the experiment's seed.
    """

    image: Pixels | Path
    edit: Edit
    number: int


@dataclass(frozen=True)
class Query:
    """An edited image as a feature.

    Attributes:
        feature: ``(d,)``.
        edit: What was done to the image.
        number: The image's number.
        label: The edit's name, with what was skipped.
        full_label: The same with the edits of a composition.
    """

    feature: npt.NDArray[np.float32]
    edit: Edit
    number: int
    label: str
    full_label: str


@dataclass(frozen=True)
class _Edited:
    image: npt.NDArray[np.float32]
    edit: Edit
    number: int
    label: str
    full_label: str


def _edit(task: QueryTask, seed: int, size: int) -> _Edited | ActiveIndexError:
    """Runs in a worker, which hands a user's error back as a value."""
    try:
        image = task.image
        picture = read_rgb(image) if isinstance(image, Path) else Image.fromarray(image)
        edited: EditedImage = task.edit(picture, edit_generator(seed, task.number))
    except ActiveIndexError as error:
        return error
    resized = to_square(edited.image, size).numpy()
    return _Edited(resized, task.edit, task.number, edited.label, edited.full_label)


def make_queries(
    tasks: Iterable[QueryTask],
    extractor: Extractor,
    batch_size: int,
    seed: int,
    workers: LocalEngine,
) -> Iterator[list[Query]]:
    """Yields the queries of tasks, ``batch_size`` of them at a time, in order.

    Raises:
        ActiveIndexError: If an image cannot be read, or an edit lacks its files.
    """
    batch: list[_Edited] = []
    edit = partial(_edit, seed=seed, size=extractor.input_size)
    # The next batch is edited while this one goes through the extractor.
    for edited in workers.map(edit, tasks, ahead=batch_size):
        if isinstance(edited, ActiveIndexError):
            raise edited
        batch.append(edited)
        if len(batch) == batch_size:
            yield _extract(batch, extractor)
            batch = []
    if batch:
        yield _extract(batch, extractor)


def _extract(batch: list[_Edited], extractor: Extractor) -> list[Query]:
    features = features_of(extractor, torch.from_numpy(np.stack([e.image for e in batch])))
    return [
        Query(feature, edited.edit, edited.number, edited.label, edited.full_label)
        for feature, edited in zip(features, batch, strict=True)
    ]
