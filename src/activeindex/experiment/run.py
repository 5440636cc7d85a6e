"""One arm of the experiment, from a folder of images to its results files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from activeindex import __version__
from activeindex.activation.activate import Activation
from activeindex.activation.job import Item, LiveFigures, ReleaseJob
from activeindex.activation.objective import choose_targets
from activeindex.activation.records import RECORDS_FILE, check_released
from activeindex.activation.settings import noted
from activeindex.evaluation.csv_files import (
    DETECTION_HEADER,
    PLACES_FILE,
    PLACES_HEADER,
    RETRIEVAL_HEADER,
    Test,
    format_row,
)
from activeindex.experiment.build_index import FilledIndex, build_index, check_index
from activeindex.experiment.folder import DETECTION_FILE, RETRIEVAL_FILE, RUN_FILE, RunSummary
from activeindex.experiment.queries import (
    BatchJob,
    Query,
    QueryJob,
    auto_tasks,
    check_readable,
    chosen_edits,
)
from activeindex.experiment.searching import Originals, Searcher, repeated_images
from activeindex.experiment.settings import ExperimentSettings
from activeindex.experiment.times import TIMES_FILE, StageTimes
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.images.folder import check_outside, fingerprint, list_images
from activeindex.indexing.training import few_features
from activeindex.runtime.fields import OTHER_FUNCTIONS, as_json, functions_hash
from activeindex.runtime.files import check_kept, check_written
from activeindex.runtime.journal import Journal, check_begun, is_begun
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import SILENT, Progress, Reporter

_LOG_FILE = "log.jsonl"

_FREE = (
    *("data_dir", "output_dir", "query_nonmatch_dir", "idx_dir"),
    *("fts_training_path", "fts_reference_path", "fts_edited_path"),
)
"""Settings that may change while a run goes on: what lies there is known by its hashes."""

_OTHERS = OTHER_FUNCTIONS | {
    "other_images": "results of other images in query_nonmatch_dir, or of these before they were "
    "written to (their names, sizes and times of change are compared)"
}


@dataclass(frozen=True)
class _Run:
    """Everything that the steps of a run use."""

    settings: ExperimentSettings
    extractor: Extractor
    arm: FilledIndex
    searcher: Searcher
    workers: Engine
    journal: Journal
    times: StageTimes
    reporter: Reporter

    @cached_property
    def detection_header(self) -> str:
        """The header of ``icd_df.csv``; one that release 0.2 began has its own."""
        path = self.journal.growing(DETECTION_FILE)
        if not (self.journal.steps and path.exists()):
            return DETECTION_HEADER
        with path.open(encoding="utf-8") as file:
            return file.readline()

    @property
    def query_job(self) -> QueryJob:
        """Makes the queries."""
        size = self.settings.evaluation.batch_size_eval
        return QueryJob(self.extractor, size, self.settings.seed)


def run_experiment(
    settings: ExperimentSettings,
    extractor: Extractor,
    *,
    workers: Engine | None = None,
    reporter: Reporter = SILENT,
    command: str | None = None,
) -> RunSummary:
    """Run one arm.

    Killed at any moment and started again with the same settings, it goes on after the last whole
    batch and ends with the same files. A finished run is not repeated.

    Args:
        settings: The arm.
        extractor: The extractor that the feature files come from.
        workers: The engine; this process alone by default.
        reporter: Gets stages, warnings, and as events every step of activation and every released
            image.
        command: The command line, for ``times.jsonl``.

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
        with reporter.stage("check other queries", len(others)) as progress:
            check_readable(others, workers, progress)
    with times.stage("originals", len(paths)):
        extraction = extract_folder(
            extractor,
            settings.data_dir,
            settings.output_dir / "originals",
            batch_size=settings.evaluation.batch_size_eval,
            workers=workers,
            descriptor_views=settings.activation.descriptor_views if settings.active else 0,
            reporter=reporter,
            title="originals",
        )
    originals = read_features(extraction.features, "originals", extractor.dimension)
    with times.stage("index", len(originals.values)):
        arm = build_index(settings.index, extractor, originals, reporter)
    if few := few_features(arm.training_features, arm.index):
        reporter.line(f"warning: {few}")
    references = read_features(settings.index.fts_reference_path, "fts_reference_path")
    if same := repeated_images(references.values, originals.values):
        reporter.line(f"warning: fts_reference_path {references.path}: holds {same}")
    if not settings.index.force:
        check_released(settings.data_dir, arm.quantiser, extractor)
    if settings.active:
        # A target that the index does not have is refused before the run claims output_dir.
        choose_targets(settings.activation.target, originals.values[:1], arm.quantiser)
    notes = {**asked, **arm.identity}  # Everything that the results depend on.
    journal = Journal(settings.output_dir, "run", notes, tuple(_files(settings)), _FREE, _OTHERS)
    with journal:
        if journal.finished:
            _check_kept(settings, len(paths))
            return RunSummary.read(settings.output_dir)
        times.commit()
        searcher = Searcher(
            arm.index,
            Originals(originals.values, arm.quantiser, arm.references),
            settings.evaluation.kneighbors,
            settings.evaluation.batch_size_eval,
            times,
        )
        run = _Run(settings, extractor, arm, searcher, workers, journal, times, reporter)
        title = f"{'active' if settings.active else 'passive'} run"
        done = _images_done(journal, "matching")
        with reporter.stage(title, len(paths), done) as progress:
            _release_and_search(run, paths, done, progress)
        done = _images_done(journal, "non-matching")
        if others:
            with reporter.stage("other queries", len(others), done) as progress:
                _search_others(run, others, len(paths), done, progress)
        counts = {"references": arm.references, "images": len(paths), "other_queries": len(others)}
        journal.finish(counts)
    return RunSummary.read(settings.output_dir)


def _check_possible(
    settings: ExperimentSettings, extractor: Extractor, asked: Mapping[str, Any]
) -> None:
    """Check settings before computing."""
    for folder in (settings.data_dir, settings.evaluation.query_nonmatch_dir):
        if folder is not None:
            check_outside(settings.output_dir, folder)
    chosen_edits(settings.evaluation)
    check_index(settings.index, extractor)
    check_begun(settings.output_dir, "run", asked, _FREE, _OTHERS)


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


def _files(settings: ExperimentSettings) -> dict[str, str]:
    """The files that grow batch by batch, and the header of each."""
    evaluation, files = settings.evaluation, {}
    if evaluation.eval_retrieval:
        files[RETRIEVAL_FILE] = RETRIEVAL_HEADER
    if evaluation.eval_icd:
        files[DETECTION_FILE] = DETECTION_HEADER
    if files:
        files[PLACES_FILE] = PLACES_HEADER
    return files | (dict.fromkeys((RECORDS_FILE, _LOG_FILE), "") if settings.active else {})


def _asked(settings: ExperimentSettings, others: list[Path]) -> dict[str, Any]:
    """The part of a run's notes that is known before anything is read."""
    folder = settings.evaluation.query_nonmatch_dir
    images = fingerprint(folder, others) if folder and others else None
    values = {**as_json(settings), "activation": noted(settings.activation)}
    values["release"] = settings.release.as_json()
    if not settings.evaluation.edits:
        del values["evaluation"]["edits"]  # As release 0.1 noted it.
    if not settings.index.polysemous:
        del values["index"]["polysemous"]  # As release 0.2 noted it.
    return {
        "settings": values,
        "functions": functions_hash(settings),
        "other_images": images,
        "version": __version__,
    }


def _images_done(journal: Journal, kind: str) -> int:
    return sum(step["images"] for step in journal.steps if step["kind"] == kind)


def _release_and_search(run: _Run, paths: list[Path], done: int, progress: Progress) -> None:
    """Releases the images and searches for their edits, batch by batch."""
    settings, journal = run.settings, run.journal
    activation = None
    if settings.active:
        quantisers = (run.arm.quantiser,)
        activation = Activation(
            run.extractor, quantisers, settings.activation, settings.release, settings.seed
        )
    # Workers may have been started in another folder.
    output_dir = settings.output_dir.absolute()
    release = ReleaseJob(
        activation,
        settings.release,
        output_dir,
        noise_by_number=True,
        keep_grey=False,
        keep_pixels=True,
    )
    items = [
        Item(
            number,
            paths[number],
            paths[number].relative_to(settings.data_dir).as_posix(),
            released_name(settings, number) if settings.save_imgs else None,
        )
        for number in range(done, len(paths))
    ]
    batches = batches_of(items, settings.batch_size)
    job, figures = BatchJob(release, run.query_job, settings.evaluation), LiveFigures()
    for batch in run.workers.run(job, batches):
        number = batch.images[0].item.number // settings.batch_size
        if number == 0:
            for name, header in _files(settings).items():
                journal.write(name, header.encode())
        for image in batch.images:
            for step in image.steps:
                run.reporter.event(step)
                if step.iteration % settings.log_freq == 0:
                    journal.write(_LOG_FILE, json.dumps(asdict(step)).encode() + b"\n")
            run.reporter.event(image)
            if image.item.output is not None:
                check_written(settings.output_dir / image.item.output)
            if image.record:
                journal.write(RECORDS_FILE, image.record)
            progress.advance(0, **figures.of(image))
        run.times.stages.extend(batch.stages)
        _search(run, number, "retrieval", batch.edits)
        _search(run, number, "detection", batch.copies)
        journal.commit({"kind": "matching", "images": len(batch.images)})
        run.times.commit()
        progress.advance(len(batch.images))


def _search_others(
    run: _Run, paths: list[Path], matching: int, done: int, progress: Progress
) -> None:
    """Copy detection of images that are not in the index."""
    size = run.settings.evaluation.batch_size_eval
    numbered = [(matching + number, paths[number]) for number in range(done, len(paths))]
    batches = [auto_tasks(dict(batch)) for batch in batches_of(numbered, size)]
    for queries, stages in run.workers.run(run.query_job, batches):
        run.times.stages.extend(stages)
        batch = (queries[0].number - matching) // size
        _search(run, batch, "detection", queries, matching=False)
        run.journal.commit({"kind": "non-matching", "images": len(queries)})
        run.times.commit()
        progress.advance(len(queries))


def _search(
    run: _Run, batch: int, test: Test, queries: list[Query], *, matching: bool = True
) -> None:
    """Search for queries, and write a row of results and of its position for each."""
    file = RETRIEVAL_FILE if test == "retrieval" else DETECTION_FILE
    for row, place in run.searcher.find(queries, test, batch, matching=matching):
        run.journal.write(file, format_row(row, run.detection_header).encode())
        run.journal.write(PLACES_FILE, place.line().encode())


def released_name(settings: ExperimentSettings, number: int) -> str:
    """The name of a released image below the run's output folder."""
    return f"imgs/{number:05d}{settings.release.format.suffix}"
