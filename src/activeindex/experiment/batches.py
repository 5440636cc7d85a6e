"""What is computed of a batch of images: all but the search, here or by workers elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from activeindex.activation.activate import activate
from activeindex.activation.folder import read_pixels
from activeindex.activation.loop import Step
from activeindex.activation.records import Recorder
from activeindex.activation.results import ActivatedImage
from activeindex.activation.watching import RecordedEvents, Watcher
from activeindex.edits.lists import FIXED_LIST, LONG_LIST
from activeindex.edits.named import Edit
from activeindex.experiment.queries import Query, QueryTask, make_queries
from activeindex.experiment.settings import ExperimentSettings
from activeindex.experiment.times import Stopwatch
from activeindex.images.encoding import decode, encode, write_bytes
from activeindex.images.levels import Pixels, to_tensor
from activeindex.images.picture import Picture
from activeindex.runtime.pool import LocalEngine

_AUTO = Edit("auto")


@dataclass(frozen=True)
class Batch:
    """Images of the set that are released together: their numbers and their files."""

    numbers: range
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class ReleasedBatch:
    """A batch that has been released and edited.

    Attributes:
        records: A record of each activated image; none in the passive arm.
        steps: Of all of them.
        edits: The queries of retrieval.
        copies: Those of copy detection.
        stages: How long it took.
        noted: What those who watch the run have not been told of it.
    """

    records: list[bytes]
    steps: list[Step]
    edits: list[Query]
    copies: list[Query]
    stages: list[tuple[str, int, float]]
    noted: RecordedEvents


@dataclass(frozen=True)
class ReleaseJob:
    """Releases batches and makes queries of them; see :class:`activeindex.runtime.pool.Job`.

    Attributes:
        settings: Of the experiment.
        recorder: Has the extractor and the quantiser.
        watchers: Told of activation as it goes on; they stay in the process of the run.
    """

    settings: ExperimentSettings
    recorder: Recorder
    watchers: tuple[Watcher, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "watchers": ()}

    def __call__(self, items: Sequence[Batch], workers: LocalEngine) -> Iterator[ReleasedBatch]:
        """Yields what each batch comes to."""
        pixels = workers.map(read_pixels, chain.from_iterable(batch.paths for batch in items))
        for batch in items:
            watch = Stopwatch()
            with watch.stage("read", len(batch.numbers)):
                originals = [next(pixels) for _ in batch.numbers]
            steps: list[Step] = []
            noted = RecordedEvents()
            watchers = self.watchers or (noted,)
            images = self._activate(originals, batch.numbers, steps, watchers, watch)
            with watch.stage("save", len(batch.numbers)):
                released = self._save(originals, images, batch.numbers)
                records = self._records(images, batch)
            yield ReleasedBatch(
                records,
                steps,
                self._edits(released, batch.numbers, workers, watch),
                self._copies(released, batch.numbers, workers, watch),
                watch.stages,
                noted,
            )

    def _activate(
        self,
        originals: list[Pixels],
        numbers: range,
        steps: list[Step],
        watchers: Sequence[Watcher],
        watch: Stopwatch,
    ) -> list[ActivatedImage]:
        if not self.settings.active:
            return []

        def note(step: Step) -> None:
            steps.append(step)
            for watcher in watchers:
                watcher.step(step)

        with watch.stage("activate", len(numbers)):
            result = activate(
                [to_tensor(pixels) for pixels in originals],
                self.recorder.extractor,
                self.recorder.quantisers,
                self.settings.activation,
                release=self.settings.release,
                seed=self.settings.seed,
                numbers=numbers,
                on_step=note,
            )
        # Several are on their way at once on a GPU, where steps come as it happens.
        steps.sort(key=lambda step: (step.number, step.iteration))
        for watcher in watchers:
            watcher.images(numbers, result.images)
        return list(result.images)

    def _save(
        self, originals: list[Pixels], images: list[ActivatedImage], numbers: range
    ) -> list[Pixels]:
        """Writes the images if they are kept; returns what a copier finds in the files."""
        form = self.settings.release.format
        if self.settings.active:
            files = [image.data for image in images]
            released = [image.pixels for image in images]
        elif self.settings.save_imgs or not form.lossless:
            files = [encode(Picture(original), original, form) for original in originals]
            released = originals if form.lossless else [decode(file) for file in files]
        else:
            return originals
        if self.settings.save_imgs:
            for number, file in zip(numbers, files, strict=True):
                write_bytes(self.settings.output_dir / released_name(self.settings, number), file)
        return released

    def _records(self, images: list[ActivatedImage], batch: Batch) -> list[bytes]:
        settings, records = self.settings, []
        for number, path, image in zip(batch.numbers, batch.paths, images, strict=False):
            name, output = path.relative_to(settings.data_dir).as_posix(), None
            if settings.save_imgs:
                kept = released_name(settings, number)
                output = (kept, settings.output_dir / kept)
            records.append(self.recorder.record(image, number, (name, path), output))
        return records

    def _edits(
        self, released: list[Pixels], numbers: range, workers: LocalEngine, watch: Stopwatch
    ) -> list[Query]:
        if not self.settings.evaluation.eval_retrieval:
            return []
        edits = LONG_LIST if self.settings.evaluation.use_attacks_2 else FIXED_LIST
        tasks = [
            QueryTask(pixels, edit, number)
            for edit in edits
            for number, pixels in zip(numbers, released, strict=True)
        ]
        return QueryJob(self.recorder, self.settings).queries(tasks, workers, watch)

    def _copies(
        self, released: list[Pixels], numbers: range, workers: LocalEngine, watch: Stopwatch
    ) -> list[Query]:
        if not self.settings.evaluation.eval_icd:
            return []
        return QueryJob(self.recorder, self.settings).queries(
            auto_tasks(released, numbers), workers, watch
        )


@dataclass(frozen=True)
class QueryJob:
    """Makes queries of images; see :class:`activeindex.runtime.pool.Job`.

    Attributes:
        recorder: Has the extractor.
        settings: Of the experiment.
    """

    recorder: Recorder
    settings: ExperimentSettings

    def __call__(
        self, items: Sequence[Sequence[QueryTask]], workers: LocalEngine
    ) -> Iterator[tuple[list[Query], list[tuple[str, int, float]]]]:
        """Yields the queries of each batch, and how long they took."""
        for tasks in items:
            watch = Stopwatch()
            yield self.queries(tasks, workers, watch), watch.stages

    def queries(
        self, tasks: Sequence[QueryTask], workers: LocalEngine, watch: Stopwatch
    ) -> list[Query]:
        """The queries of one batch of tasks."""
        extractor, size = self.recorder.extractor, self.settings.evaluation.batch_size_eval
        batches = make_queries(tasks, extractor, size, self.settings.seed, workers)
        found: list[Query] = []
        for first in range(0, len(tasks), size):
            with watch.stage("edit and extract", len(tasks[first : first + size])):
                found += next(batches)
        return found


def auto_tasks(images: Sequence[Pixels | Path], numbers: range) -> list[QueryTask]:
    """One random composition of each image."""
    return [QueryTask(image, _AUTO, n) for n, image in zip(numbers, images, strict=False)]


def released_name(settings: ExperimentSettings, number: int) -> str:
    """The name of a released image below the run's output folder."""
    return f"imgs/{number:05d}{settings.release.format.suffix}"
