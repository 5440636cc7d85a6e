"""Queries: released images, edited as a copier would and mapped to features.

A batch of the experiment is released by the job that ``activate`` runs, and edited right after,
here or by workers elsewhere; the search alone is left to the main process.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.activation.job import Item, Released, ReleaseJob
from activeindex.edits.edited import EditedImage, edit_generator
from activeindex.edits.lists import FIXED_LIST, LONG_LIST
from activeindex.edits.named import Edit, as_edit
from activeindex.errors import ActiveIndexError, UnreadableImageError
from activeindex.experiment.settings import EvaluationSettings
from activeindex.experiment.times import Stages, Stopwatch
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import Pixels, to_square
from activeindex.images.limits import max_pixels
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import Progress

_AUTO = Edit("auto")
_CHECKED = 64
"""Images that :func:`check_readable` decodes together."""

_Square = npt.NDArray[np.float32]
_Labels = tuple[Edit, int, str, str]
"""The fields of a :class:`Query` but the feature."""


@dataclass(frozen=True)
class QueryTask:
    """An image to edit.

    Attributes:
        image: Its pixels, or the file to read them from.
        edit: The edit.
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
        edit: The edit.
        number: The image's number.
        label: The edit's name, with what was skipped.
        full_label: The same with the edits of a composition.
    """

    feature: npt.NDArray[np.float32]
    edit: Edit
    number: int
    label: str
    full_label: str


def _edit(
    task: QueryTask, seed: int, size: int, most: int
) -> tuple[_Square, _Labels] | ActiveIndexError:
    """Edits an image in a worker, which hands a user's error back as a value."""
    try:
        given = task.image
        image = read_rgb(given, most=most) if isinstance(given, Path) else Image.fromarray(given)
        edited: EditedImage = task.edit(image, edit_generator(seed, task.number))
    except ActiveIndexError as error:
        return error
    labels = task.edit, task.number, edited.label, edited.full_label
    return to_square(edited.image, size).numpy(), labels


@dataclass(frozen=True)
class QueryJob:
    """Makes queries of images; see :class:`~activeindex.runtime.pool.Job`.

    Attributes:
        extractor: Maps edited images to features.
        batch_size: Queries that go through the extractor together.
        seed: Of the experiment.
        max_pixels: The most pixels that an image file may have.
    """

    extractor: Extractor
    batch_size: int
    seed: int
    max_pixels: int = field(default_factory=max_pixels)

    def __call__(
        self, items: Sequence[Sequence[QueryTask]], workers: LocalEngine
    ) -> Iterator[tuple[list[Query], Stages]]:
        """Yield the queries of each batch, and how long they took."""
        for tasks in items:
            watch = Stopwatch()
            yield self.queries(tasks, workers, watch), watch.stages

    def queries(
        self, tasks: Sequence[QueryTask], workers: LocalEngine, watch: Stopwatch
    ) -> list[Query]:
        """Make the queries of one batch of tasks, in order.

        Raises:
            ActiveIndexError: If an image cannot be read, or an edit lacks its files.
        """
        size = self.extractor.input_size
        edit = partial(_edit, seed=self.seed, size=size, most=self.max_pixels)
        # The next part is edited while this one goes through the extractor.
        edited = workers.map(edit, tasks, ahead=self.batch_size)
        found: list[Query] = []
        for part in batches_of(tasks, self.batch_size):
            with watch.stage("edit and extract", len(part)):
                images, labels = [], []
                for result in islice(edited, len(part)):
                    if isinstance(result, ActiveIndexError):
                        raise result
                    images.append(result[0])
                    labels.append(result[1])
                features = features_of(self.extractor, torch.from_numpy(np.stack(images)))
                found += [Query(one, *rest) for one, rest in zip(features, labels, strict=True)]
        return found


@dataclass(frozen=True)
class ReleasedBatch:
    """Images that have been released, and the queries made of them.

    Attributes:
        images: The images, without their pixels.
        edits: The queries of retrieval.
        copies: The queries of copy detection.
        stages: How long it took.
    """

    images: list[Released]
    edits: list[Query]
    copies: list[Query]
    stages: Stages


@dataclass(frozen=True)
class BatchJob:
    """Releases batches and makes queries of them; see :class:`~activeindex.runtime.pool.Job`.

    Attributes:
        release: Releases the images.
        query: Makes the queries.
        evaluation: The queries that are asked for.
    """

    release: ReleaseJob
    query: QueryJob
    evaluation: EvaluationSettings

    def __call__(
        self, items: Sequence[Sequence[Item]], workers: LocalEngine
    ) -> Iterator[ReleasedBatch]:
        """Yield each batch.

        Raises:
            UnreadableImageError: At the first image that cannot be decoded.
        """
        results = self.release(list(chain.from_iterable(items)), workers)
        for batch in items:
            images, pixels = [], {}
            for result in (next(results) for _ in batch):
                if not isinstance(result, Released):
                    raise result
                images.append(replace(result, pixels=None))
                assert result.pixels is not None
                pixels[result.item.number] = result.pixels
            stages = [
                (stage, len(images), sum(image.seconds[stage] for image in images))
                for stage in images[0].seconds
            ]
            watch, edits, copies = Stopwatch(stages), list[Query](), list[Query]()
            if self.evaluation.eval_retrieval:
                chosen = chosen_edits(self.evaluation)
                tasks = [QueryTask(pixels[n], edit, n) for edit in chosen for n in pixels]
                edits = self.query.queries(tasks, workers, watch)
            if self.evaluation.eval_icd:
                copies = self.query.queries(auto_tasks(pixels), workers, watch)
            yield ReleasedBatch(images, edits, copies, watch.stages)


def chosen_edits(settings: EvaluationSettings) -> tuple[Edit, ...]:
    """The edits of the retrieval test: the user's own, or those of a list.

    Raises:
        InputError: If there is no edit of a name.
    """
    if settings.edits:
        return tuple(as_edit(edit) for edit in settings.edits)
    return LONG_LIST if settings.use_attacks_2 else FIXED_LIST


def auto_tasks(images: Mapping[int, Pixels | Path]) -> list[QueryTask]:
    """One random composition of each image, by number."""
    return [QueryTask(image, _AUTO, number) for number, image in images.items()]


def check_readable(paths: Sequence[Path], engine: Engine, progress: Progress) -> None:
    """Decode images and discard them, before hours of work depend on them.

    Args:
        paths: The files.
        engine: Engine that decodes.
        progress: Advanced by every image.

    Raises:
        UnreadableImageError: At the first file that cannot be decoded.
    """
    batches = batches_of(paths, _CHECKED)
    for batch, error in zip(batches, engine.run(ReadJob(), batches), strict=True):
        if error is not None:
            raise error
        progress.advance(len(batch))


@dataclass(frozen=True)
class ReadJob:
    """Decodes batches of files; a :class:`~activeindex.runtime.pool.Job`.

    Attributes:
        max_pixels: The most pixels that an image file may have.
    """

    max_pixels: int = field(default_factory=max_pixels)

    def __call__(
        self, items: Sequence[Sequence[Path]], workers: LocalEngine
    ) -> Iterator[UnreadableImageError | None]:
        """Yield the first error of each batch."""
        for batch in items:
            # All of them: an iterator that is left early would leave its workers busy.
            errors = list(workers.map(partial(_error_of, most=self.max_pixels), batch))
            yield next((error for error in errors if error is not None), None)


def _error_of(path: Path, most: int) -> UnreadableImageError | None:
    try:
        read_rgb(path, most=most)
    except UnreadableImageError as error:
        return error
    return None
