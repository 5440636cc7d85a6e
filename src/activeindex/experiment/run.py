"""One arm of the experiment, from a folder of images to its results files."""

import contextlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from activeindex import __version__
from activeindex.activation import (
    RECORDS_FILE,
    ActivatedImage,
    LiveFigures,
    Recorder,
    Step,
    Watcher,
    activate,
    check_released,
    read_pixels,
)
from activeindex.activation.targets import choose_targets
from activeindex.edits import FIXED_LIST, LONG_LIST, Edit
from activeindex.evaluation import (
    DETECTION_HEADER,
    NO_MATCH,
    PLACES_FILE,
    PLACES_HEADER,
    RETRIEVAL_HEADER,
    DetectionResult,
    QueryPlace,
    RetrievalResult,
    format_row,
)
from activeindex.experiment.arm import Arm, build_arm
from activeindex.experiment.folder import DETECTION_FILE, RETRIEVAL_FILE
from activeindex.experiment.places import Originals
from activeindex.experiment.queries import QueryTask
from activeindex.experiment.searching import Searcher
from activeindex.experiment.settings import ExperimentSettings
from activeindex.experiment.summary import RunSummary
from activeindex.experiment.times import TIMES_FILE, StageTimes
from activeindex.extractors import Extractor, extract_folder, read_features
from activeindex.images import (
    Picture,
    Pixels,
    decode,
    encode,
    list_images,
    to_tensor,
    write_bytes,
)
from activeindex.running.journal import Journal
from activeindex.running.progress import Progress, Silent
from activeindex.running.workers import Workers

_AUTO = Edit("auto")
_LOG_FILE = "log.jsonl"

StartBar = Callable[[str, int, int], AbstractContextManager[Progress]]
"""Starts a progress bar: its title, the number of images, how many of them are done."""


def _no_bar(title: str, total: int, done: int) -> AbstractContextManager[Progress]:
    return contextlib.nullcontext(Silent())


@dataclass(frozen=True)
class _Run:
    """What every step of a run uses."""

    settings: ExperimentSettings
    extractor: Extractor
    arm: Arm
    searcher: Searcher
    workers: Workers
    journal: Journal
    times: StageTimes
    watchers: tuple[Watcher, ...]


def run_experiment(
    settings: ExperimentSettings,
    extractor: Extractor,
    *,
    workers: Workers | None = None,
    start_bar: StartBar = _no_bar,
    watchers: Sequence[Watcher] = (),
    command: str | None = None,
) -> RunSummary:
    """Runs one arm.

    Killed at any moment and started again with the same settings, it goes on after the last whole
    batch and ends with the same files. A finished run is not repeated.

    Args:
        settings: The arm.
        extractor: The extractor that the feature files come from.
        workers: Processes that decode and edit.
        start_bar: Called for a progress bar at the start of each stage.
        watchers: Told of every step of activation and of every activated image.
        command: What was typed, for ``times.jsonl``.

    Returns:
        The tables of the run, computed from its files: ``retr_df.csv``, ``icd_df.csv``,
        ``queries.csv``, ``activation.jsonl`` (one record per activated image), ``log.jsonl``,
        ``times.jsonl`` and ``run.json`` in ``output_dir``, and ``imgs/00000.png`` … when images
        are kept.

    Raises:
        InputError: If an input does not fit, or ``output_dir`` holds another run.
        UnreadableImageError: At the first image that cannot be decoded.
        NoTargetError: If images cannot be aimed at this index.
    """
    workers = workers or Workers()
    paths = list_images(settings.data_dir)
    others = _other_images(settings)
    times = StageTimes(settings.output_dir / TIMES_FILE, command, extractor.device)
    with times.stage("originals", len(paths)), start_bar("originals", len(paths), 0) as progress:
        extraction = extract_folder(
            extractor,
            settings.data_dir,
            settings.output_dir / "originals",
            batch_size=settings.evaluation.batch_size_eval,
            workers=workers,
            progress=progress,
        )
    originals = read_features(extraction.features, "originals", extractor.dimension)
    with times.stage("index", len(originals.values)), start_bar("index", 1, 0) as progress:
        arm = build_arm(settings.index, extractor, originals)
        progress.advance()
    if not settings.index.force:
        check_released(settings.data_dir, arm.quantiser, extractor)
    if settings.active:
        # A target that the index does not have is refused before the run claims output_dir.
        choose_targets(settings.activation.target, originals.values[:1], arm.quantiser)
    notes = _notes(settings, arm, others)
    with Journal(settings.output_dir, "run", notes, _files(settings)) as journal:
        if journal.finished:
            return RunSummary.read(settings.output_dir)
        times.commit()
        searcher = Searcher(
            arm.index,
            Originals(originals.values, arm.quantiser),
            extractor,
            settings.evaluation.kneighbors,
            settings.evaluation.batch_size_eval,
            settings.seed,
            workers,
            times,
        )
        run = _Run(settings, extractor, arm, searcher, workers, journal, times, tuple(watchers))
        title = f"{'active' if settings.active else 'passive'} run"
        done = _images_done(journal, "matching")
        with start_bar(title, len(paths), done) as progress:
            _release_and_search(run, paths, done, progress)
        done = _images_done(journal, "non-matching")
        if others:
            with start_bar("other queries", len(others), done) as progress:
                _search_others(run, others, len(paths), done, progress)
        journal.finish({"references": arm.references, "images": len(paths)})
    return RunSummary.read(settings.output_dir)


def _other_images(settings: ExperimentSettings) -> list[Path]:
    folder = settings.evaluation.query_nonmatch_dir
    if folder is None or not settings.evaluation.eval_icd:
        return []
    return list_images(folder, "query_nonmatch_dir")


def _files(settings: ExperimentSettings) -> tuple[str, ...]:
    evaluation = settings.evaluation
    return (
        *([RETRIEVAL_FILE] if evaluation.eval_retrieval else []),
        *([DETECTION_FILE] if evaluation.eval_icd else []),
        *([PLACES_FILE] if evaluation.eval_retrieval or evaluation.eval_icd else []),
        *([RECORDS_FILE, _LOG_FILE] if settings.active else []),
    )


def _notes(settings: ExperimentSettings, arm: Arm, others: list[Path]) -> dict[str, Any]:
    """What the results depend on: a run with other notes is another run."""
    notes = {
        "settings": asdict(settings),
        **arm.identity,
        "other_queries": len(others),
        "version": __version__,
    }
    return cast("dict[str, Any]", json.loads(json.dumps(notes, default=str)))


def _images_done(journal: Journal, kind: str) -> int:
    return sum(step["images"] for step in journal.steps if step["kind"] == kind)


def _release_and_search(run: _Run, paths: list[Path], done: int, progress: Progress) -> None:
    """Batch by batch: release the images, then look for their edits."""
    settings = run.settings
    images = run.workers.map(read_pixels, paths[done:])
    watchers = (LiveFigures(progress), *run.watchers)
    for first in range(done, len(paths), settings.batch_size):
        numbers = range(first, min(first + settings.batch_size, len(paths)))
        batch = first // settings.batch_size
        if batch == 0:
            _write_headers(run)
        with run.times.stage("read", len(numbers)):
            originals = [next(images) for _ in numbers]
        activated = _activate(run, originals, numbers, watchers) if settings.active else []
        with run.times.stage("save", len(numbers)):
            form = settings.release.format
            if settings.active:
                files = [image.data for image in activated]
                released = [image.pixels for image in activated]
            elif settings.save_imgs or not form.lossless:
                files = [encode(Picture(original), original, form) for original in originals]
                released = originals if form.lossless else [decode(file) for file in files]
            else:
                files, released = [], originals
            if settings.save_imgs:
                for number, file in zip(numbers, files, strict=True):
                    write_bytes(settings.output_dir / _released_name(settings, number), file)
            _record(run, activated, numbers[: len(activated)], paths)
        if settings.evaluation.eval_retrieval:
            _search_edits(run, batch, released, numbers)
        if settings.evaluation.eval_icd:
            _search_copies(run, batch, released, numbers)
        run.journal.commit({"kind": "matching", "images": len(numbers)})
        run.times.commit()
        progress.advance(len(numbers))


def _write_headers(run: _Run) -> None:
    if run.settings.evaluation.eval_retrieval:
        run.journal.write(RETRIEVAL_FILE, RETRIEVAL_HEADER.encode())
    if run.settings.evaluation.eval_icd:
        run.journal.write(DETECTION_FILE, DETECTION_HEADER.encode())
    if PLACES_FILE in _files(run.settings):
        run.journal.write(PLACES_FILE, PLACES_HEADER.encode())


def _activate(
    run: _Run, originals: list[Pixels], numbers: range, watchers: tuple[Watcher, ...]
) -> list[ActivatedImage]:
    settings = run.settings

    def log(step: Step) -> None:
        for watcher in watchers:
            watcher.step(step)
        if step.iteration % settings.log_freq == 0:
            run.journal.write(_LOG_FILE, json.dumps(asdict(step)).encode() + b"\n")

    with run.times.stage("activate", len(numbers)):
        result = activate(
            [to_tensor(pixels) for pixels in originals],
            run.extractor,
            run.arm.quantiser,
            settings.activation,
            release=settings.release,
            seed=settings.seed,
            numbers=numbers,
            on_step=log,
        )
    for watcher in watchers:
        watcher.images(numbers, result.images)
    return list(result.images)


def _record(run: _Run, activated: list[ActivatedImage], numbers: range, paths: list[Path]) -> None:
    settings = run.settings
    recorder = Recorder(
        (run.arm.quantiser,),
        run.extractor,
        settings.activation,
        settings.release,
        settings.seed,
    )
    for number, image in zip(numbers, activated, strict=True):
        name = paths[number].relative_to(settings.data_dir).as_posix()
        output = _released_name(settings, number)
        kept = (output, settings.output_dir / output) if settings.save_imgs else None
        run.journal.write(RECORDS_FILE, recorder.record(image, number, (name, paths[number]), kept))


def _released_name(settings: ExperimentSettings, number: int) -> str:
    return f"imgs/{number:05d}{settings.release.format.suffix}"


def _search_edits(run: _Run, batch: int, released: list[Pixels], numbers: range) -> None:
    edits = LONG_LIST if run.settings.evaluation.use_attacks_2 else FIXED_LIST
    tasks = [
        QueryTask(pixels, edit, number)
        for edit in edits
        for number, pixels in zip(numbers, released, strict=True)
    ]
    for found in run.searcher.find(tasks):
        row = RetrievalResult.from_search(
            batch,
            run.arm.references + found.task.number,
            found.query.label,
            found.task.edit.parameter,
            found.distances,
            found.ids,
        )
        _write_place(run, found.place("retrieval", row.image_index, row.attack))
        run.journal.write(RETRIEVAL_FILE, format_row(row).encode())


def _search_copies(run: _Run, batch: int, released: list[Pixels], numbers: range) -> None:
    tasks = [
        QueryTask(pixels, _AUTO, number) for number, pixels in zip(numbers, released, strict=True)
    ]
    for found in run.searcher.find(tasks):
        original, label = run.arm.references + found.task.number, found.query.full_label
        row = DetectionResult.from_search(batch, original, label, found.distances, found.ids)
        _write_place(run, found.place("detection", original, label))
        run.journal.write(DETECTION_FILE, format_row(row).encode())


def _search_others(
    run: _Run, paths: list[Path], matching: int, done: int, progress: Progress
) -> None:
    """Copy detection of images that are not in the index; their numbers follow the matching."""
    size = run.settings.evaluation.batch_size_eval
    for first in range(done, len(paths), size):
        numbers = range(first, min(first + size, len(paths)))
        tasks = [QueryTask(paths[number], _AUTO, matching + number) for number in numbers]
        for found in run.searcher.find(tasks):
            label = found.query.full_label
            row = DetectionResult.from_search(
                first // size, NO_MATCH, label, found.distances, found.ids
            )
            _write_place(run, found.place("detection", NO_MATCH, label))
            run.journal.write(DETECTION_FILE, format_row(row).encode())
        run.journal.commit({"kind": "non-matching", "images": len(numbers)})
        run.times.commit()
        progress.advance(len(numbers))


def _write_place(run: _Run, place: QueryPlace) -> None:
    run.journal.write(PLACES_FILE, place.line().encode())
