"""One arm of the experiment, from a folder of images to its results files."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from activeindex import __version__
from activeindex.activation.objective import choose_targets
from activeindex.activation.records import RECORDS_FILE, Recorder, check_released
from activeindex.activation.watching import LiveFigures, Watcher
from activeindex.evaluation.copy_detection import NO_MATCH, DetectionResult
from activeindex.evaluation.csv_files import DETECTION_HEADER, RETRIEVAL_HEADER, format_row
from activeindex.evaluation.query_records import PLACES_FILE, PLACES_HEADER, QueryRecord
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.experiment.batches import (
    Batch,
    QueryJob,
    ReleaseJob,
    auto_tasks,
    released_name,
)
from activeindex.experiment.build_index import FilledIndex, build_index
from activeindex.experiment.cell_retention import Originals
from activeindex.experiment.folder import DETECTION_FILE, RETRIEVAL_FILE, RUN_FILE
from activeindex.experiment.queries import Query
from activeindex.experiment.searching import Searcher
from activeindex.experiment.settings import ExperimentSettings
from activeindex.experiment.summary import RunSummary
from activeindex.experiment.times import TIMES_FILE, StageTimes
from activeindex.experiment.validate_images import check_readable
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.images.folder import check_outside, fingerprint, list_images
from activeindex.indexing.training import few_features, new_index
from activeindex.runtime.files import check_kept, check_written
from activeindex.runtime.journal import Journal, check_begun, is_begun
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.progress import Progress, Silent

_LOG_FILE = "log.jsonl"

_FREE = (
    *("data_dir", "output_dir", "query_nonmatch_dir", "idx_dir"),
    *("fts_training_path", "fts_reference_path", "fts_edited_path"),
)
"""Settings that may change while a run goes on: what lies there is known by its hashes."""

_OTHER_QUERIES = {
    "other_images": "results of other images in query_nonmatch_dir, or of these before they were "
    "written to (their names, sizes and times of change are compared)"
}

StartBar = Callable[[str, int, int], AbstractContextManager[Progress]]
"""Starts a progress bar: its title, the number of images, how many of them are done."""


def _no_bar(title: str, total: int, done: int) -> AbstractContextManager[Progress]:
    return contextlib.nullcontext(Silent())


@dataclass(frozen=True)
class _Run:
    """What every step of a run uses."""

    settings: ExperimentSettings
    extractor: Extractor
    arm: FilledIndex
    searcher: Searcher
    workers: Engine
    journal: Journal
    times: StageTimes
    watchers: tuple[Watcher, ...]

    @property
    def recorder(self) -> Recorder:
        """What images are released with."""
        settings = self.settings
        return Recorder(
            (self.arm.quantiser,),
            self.extractor,
            settings.activation,
            settings.release,
            settings.seed,
        )

    @property
    def settings_elsewhere(self) -> ExperimentSettings:
        """The settings for workers that may have been started in another folder."""
        return replace(self.settings, output_dir=self.settings.output_dir.absolute())


def run_experiment(
    settings: ExperimentSettings,
    extractor: Extractor,
    *,
    workers: Engine | None = None,
    start_bar: StartBar = _no_bar,
    watchers: Sequence[Watcher] = (),
    command: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> RunSummary:
    """Runs one arm.

    Killed at any moment and started again with the same settings, it goes on after the last whole
    batch and ends with the same files. A finished run is not repeated.

    Args:
        settings: The arm.
        extractor: The extractor that the feature files come from.
        workers: Who computes; this process alone by default.
        start_bar: Called for a progress bar at the start of each stage.
        watchers: Told of every step of activation and of every activated image.
        command: What was typed, for ``times.jsonl``.
        tell: Called with what the user should know, a line each.

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
    workers = workers or LocalEngine()
    paths = list_images(settings.data_dir)
    others = _other_images(settings)
    asked = _asked(settings, others)
    _check_possible(settings, extractor, asked)
    times = StageTimes(settings.output_dir / TIMES_FILE, command, extractor.device)
    if others and not is_begun(settings.output_dir, "run"):
        with start_bar("check other queries", len(others), 0) as progress:
            check_readable(others, workers, progress)
    with times.stage("originals", len(paths)), start_bar("originals", len(paths), 0) as progress:
        extraction = extract_folder(
            extractor,
            settings.data_dir,
            settings.output_dir / "originals",
            batch_size=settings.evaluation.batch_size_eval,
            workers=workers,
            descriptor_views=settings.activation.descriptor_views if settings.active else 0,
            progress=progress,
        )
    originals = read_features(extraction.features, "originals", extractor.dimension)
    with times.stage("index", len(originals.values)), start_bar("index", 1, 0) as progress:
        arm = build_index(settings.index, extractor, originals)
        progress.advance()
    if few := few_features(arm.training_features, arm.index):
        tell(f"warning: {few}")
    if not settings.index.force:
        check_released(settings.data_dir, arm.quantiser, extractor)
    if settings.active:
        # A target that the index does not have is refused before the run claims output_dir.
        choose_targets(settings.activation.target, originals.values[:1], arm.quantiser)
    notes = {**asked, **arm.identity}  # What the results depend on.
    journal = Journal(settings.output_dir, "run", notes, _files(settings), _FREE, _OTHER_QUERIES)
    with journal:
        if journal.finished:
            _check_kept(settings, len(paths))
            return RunSummary.read(settings.output_dir)
        times.commit()
        searcher = Searcher(
            arm.index,
            Originals(originals.values, arm.quantiser),
            settings.evaluation.kneighbors,
            settings.evaluation.batch_size_eval,
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
        counts = {"references": arm.references, "images": len(paths), "other_queries": len(others)}
        journal.finish(counts)
    return RunSummary.read(settings.output_dir)


def _check_possible(
    settings: ExperimentSettings, extractor: Extractor, asked: Mapping[str, Any]
) -> None:
    """Refuses what cannot be, before hours of work are in vain."""
    for folder in (settings.data_dir, settings.evaluation.query_nonmatch_dir):
        if folder is not None:
            check_outside(settings.output_dir, folder)
    new_index(settings.index.idx_factory, extractor.dimension, settings.index.quant)
    check_begun(settings.output_dir, "run", asked, _FREE, _OTHER_QUERIES)


def _check_kept(settings: ExperimentSettings, count: int) -> None:
    images = range(count if settings.save_imgs else 0)
    files = [name for name in _files(settings) if name != _LOG_FILE]  # It may be empty.
    for name in (*files, *(released_name(settings, image) for image in images)):
        check_kept(settings.output_dir / name, settings.output_dir / RUN_FILE)


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


def _asked(settings: ExperimentSettings, others: list[Path]) -> dict[str, Any]:
    """What is known of a run's notes before anything is read."""
    noted: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    folder = settings.evaluation.query_nonmatch_dir
    images = fingerprint(folder, others) if folder and others else None
    return {"settings": noted, "other_images": images, "version": __version__}


def _images_done(journal: Journal, kind: str) -> int:
    return sum(step["images"] for step in journal.steps if step["kind"] == kind)


def _release_and_search(run: _Run, paths: list[Path], done: int, progress: Progress) -> None:
    """Batch by batch: release the images, then look for their edits."""
    settings = run.settings
    watchers = (LiveFigures(progress), *run.watchers)
    job = ReleaseJob(run.settings_elsewhere, run.recorder, watchers)
    starts = range(done, len(paths), settings.batch_size)
    batches = [_batch(paths, first, settings.batch_size) for first in starts]
    for first, batch, released in zip(starts, batches, run.workers.run(job, batches), strict=True):
        number = first // settings.batch_size
        if number == 0:
            _write_headers(run)
        released.noted.tell(watchers)
        for step in released.steps:
            if step.iteration % settings.log_freq == 0:
                run.journal.write(_LOG_FILE, json.dumps(asdict(step)).encode() + b"\n")
        if settings.save_imgs:
            for image in batch.numbers:
                check_written(settings.output_dir / released_name(settings, image))
        for record in released.records:
            run.journal.write(RECORDS_FILE, record)
        run.times.add(released.stages)
        _search_edits(run, number, released.edits)
        _search_copies(run, number, released.copies)
        run.journal.commit({"kind": "matching", "images": len(batch.numbers)})
        run.times.commit()
        progress.advance(len(batch.numbers))


def _batch(paths: list[Path], first: int, size: int) -> Batch:
    files = tuple(paths[first : first + size])
    return Batch(range(first, first + len(files)), files)


def _write_headers(run: _Run) -> None:
    if run.settings.evaluation.eval_retrieval:
        run.journal.write(RETRIEVAL_FILE, RETRIEVAL_HEADER.encode())
    if run.settings.evaluation.eval_icd:
        run.journal.write(DETECTION_FILE, DETECTION_HEADER.encode())
    if PLACES_FILE in _files(run.settings):
        run.journal.write(PLACES_FILE, PLACES_HEADER.encode())


def _search_edits(run: _Run, batch: int, queries: list[Query]) -> None:
    for found in run.searcher.find(queries):
        row = RetrievalResult.from_search(
            batch,
            run.arm.references + found.query.number,
            found.query.label,
            found.query.edit.parameter,
            found.distances,
            found.ids,
        )
        _write_place(run, found.place("retrieval", row.image_index, row.attack))
        run.journal.write(RETRIEVAL_FILE, format_row(row).encode())


def _search_copies(run: _Run, batch: int, queries: list[Query]) -> None:
    for found in run.searcher.find(queries):
        original, label = run.arm.references + found.query.number, found.query.full_label
        row = DetectionResult.from_search(batch, original, label, found.distances, found.ids)
        _write_place(run, found.place("detection", original, label))
        run.journal.write(DETECTION_FILE, format_row(row).encode())


def _search_others(
    run: _Run, paths: list[Path], matching: int, done: int, progress: Progress
) -> None:
    """Copy detection of images that are not in the index; their numbers follow the matching."""
    size = run.settings.evaluation.batch_size_eval
    starts = range(done, len(paths), size)
    batches = [
        auto_tasks(paths[first : first + size], range(matching + first, matching + first + size))
        for first in starts
    ]
    job = QueryJob(run.recorder, run.settings_elsewhere)
    for first, (queries, stages) in zip(starts, run.workers.run(job, batches), strict=True):
        run.times.add(stages)
        for found in run.searcher.find(queries):
            label = found.query.full_label
            row = DetectionResult.from_search(
                first // size, NO_MATCH, label, found.distances, found.ids
            )
            _write_place(run, found.place("detection", NO_MATCH, label))
            run.journal.write(DETECTION_FILE, format_row(row).encode())
        run.journal.commit({"kind": "non-matching", "images": len(queries)})
        run.times.commit()
        progress.advance(len(queries))


def _write_place(run: _Run, place: QueryRecord) -> None:
    run.journal.write(PLACES_FILE, place.line().encode())
