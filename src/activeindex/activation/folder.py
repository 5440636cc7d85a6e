"""Activation of a folder of images, resumable."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.activation.activate import Group, activate_groups, as_tuple, grouped, together_on
from activeindex.activation.loop import Step
from activeindex.activation.records import RECORDS_FILE, Recorder, check_released, read_records
from activeindex.activation.results import ActivatedImage
from activeindex.activation.settings import AS_PNG, PAPER, ActivationSettings, ReleaseSettings
from activeindex.activation.watching import LiveFigures, RecordedEvents, Watcher
from activeindex.errors import InputError, UnencodableError, UnreadableImageError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    ROWS_FILE,
    is_of_activation,
    write_features,
    write_note,
)
from activeindex.extractors.features import OnUnreadable
from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import check_encodable, write_bytes
from activeindex.images.folder import OTHER_IMAGES, check_outside, fingerprint, list_images
from activeindex.images.levels import Pixels
from activeindex.images.picture import Picture, read_picture
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.runtime.files import check_kept, check_written
from activeindex.runtime.journal import Journal, is_begun
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.progress import Progress, Silent

_FEATURES = "fts.pt"


@dataclass(frozen=True)
class FolderActivation:
    """What :func:`activate_folder` wrote.

    Attributes:
        records: The records' file, one JSON line per activated image.
        features: What the indexes store the codes of, a row per activated image; the names of the
            originals are in ``filenames.txt`` beside it. None if there is no image, or the folder
            was finished by a release that did not write them.
        count: How many images were activated.
        before: How many of them were there when the call began, from an earlier one.
        skipped: One line for each file that was left out, with the reason.
        warnings: One line for each image that is not quite what was asked for: whose budget cannot
            be met, or whose transparency the format cannot hold.
    """

    records: Path
    features: Path | None
    count: int
    before: int
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]


def read_pixels(path: Path) -> Pixels:
    """Reads an image file as 8-bit RGB pixels ``(H, W, 3)``.

    Raises:
        UnreadableImageError: If the file cannot be decoded.
    """
    return np.asarray(read_rgb(path))


def activate_folder(
    data_dir: Path,
    output_dir: Path,
    extractor: Extractor,
    quantiser: Quantiser | Sequence[Quantiser],
    settings: ActivationSettings = PAPER,
    *,
    release: ReleaseSettings = AS_PNG,
    seed: int = 0,
    force: bool = False,
    workers: Engine | None = None,
    unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> FolderActivation:
    """Activates every image below a folder and writes it under the same relative name.

    Transparency, greyness, EXIF and ICC profile are kept; the pixels are stored upright, and the
    orientation in EXIF says so. Killed at any moment and started again with the same arguments, it
    goes on after the last image, on an accelerator after the last group of them.

    Args:
        data_dir: The images; sorted by path.
        output_dir: Gets the images, ``activation.jsonl``, one record per image, and as
            :func:`~activeindex.extractors.extract_folder` would write them ``fts.pt``,
            ``filenames.txt`` and ``fts.json``: the features whose codes are to be stored.
        extractor: The extractor that the index was built with.
        quantiser: The quantiser of the index that will be searched, or those of several.
        settings: What to optimise and how.
        release: The format of the files, and the budget that each of them keeps.
        seed: Seeds the noise that the distortions start from.
        force: Whether to activate images that were activated for another index before.
        workers: Who computes; this process alone by default.
        unreadable: Whether to refuse or to skip files that cannot be decoded.
        progress: Told of every image.

    Raises:
        InputError: If the folder is missing or without images, the output folder is the same or
            below it, it holds an unfinished run with other arguments or features of other images,
            or the images were activated for another index or through another extractor.
        UnreadableImageError: If a file cannot be decoded and ``unreadable`` is ``"refuse"``.
    """
    check_outside(output_dir, data_dir)
    quantisers = as_tuple(quantiser)
    if not force:
        for each in quantisers:
            check_released(data_dir, each, extractor)
    progress, workers = progress or Silent(), workers or LocalEngine()
    paths = list_images(data_dir)
    suffix = release.format.suffix
    outputs = _output_names([path.relative_to(data_dir) for path in paths], suffix)
    identity = {
        "extractor": extractor.identity.as_json(),
        "quantiser": [each.identity and each.identity.as_json() for each in quantisers],
        "images": fingerprint(data_dir, paths),
        "settings": asdict(settings),
        "release": asdict(release),
        "seed": seed,
        "unreadable": unreadable,
    }
    recorder = Recorder(quantisers, extractor, settings, release, seed)
    own = is_begun(output_dir, "activation") or is_of_activation(output_dir / _FEATURES)
    if is_begun(output_dir, "fts") and not own:
        raise InputError(
            f"output folder {output_dir}: expected one without features of other images, found "
            "those of extract_fts; give another output folder"
        )
    files = (RECORDS_FILE, ROWS_FILE, NAMES_FILE)
    # What was not refused so far would not have been skipped, either.
    free = ("unreadable",)
    with Journal(
        output_dir, "activation", identity, files, ignored_keys=free, explanations=OTHER_IMAGES
    ) as journal:
        if journal.note is not None:
            progress.advance(len(paths))
            if journal.note["count"]:
                _check_kept(output_dir)
            return _result(output_dir, journal.note, journal.note["count"])
        # Steps may be of other sizes: a run can go on on another device.
        before = sum(step["images"] for step in journal.steps)
        done = before + sum(len(step["skipped"]) for step in journal.steps)
        progress.advance(min(done, len(paths)))
        figures = LiveFigures(progress)
        items = [
            _Item(number, path, path.relative_to(data_dir).as_posix(), output.as_posix())
            for number, (path, output) in enumerate(zip(paths, outputs, strict=True))
        ][done:]
        results = workers.run(_Job(recorder, output_dir.absolute(), (figures,)), items)
        size = together_on(extractor.device)  # A killed run loses no more than what goes together.
        for first in range(0, len(items), size):
            batch = items[first : first + size]
            skipped: list[str] = []
            warnings: list[str] = []
            for item in batch:
                result = next(results)
                if isinstance(result, _Released):
                    check_written(output_dir / item.output)
                    result.noted.tell((figures,))
                    journal.write(RECORDS_FILE, result.record)
                    journal.write(ROWS_FILE, result.feature.astype("<f4").tobytes())
                    journal.write(NAMES_FILE, f"{item.name}\n".encode())
                    warnings += result.warnings
                elif unreadable == "refuse":
                    raise result
                else:
                    skipped.append(str(result))
                progress.advance()
            images = len(batch) - len(skipped)
            journal.commit({"images": images, "skipped": skipped, "warnings": warnings})
        note = {
            "count": sum(step["images"] for step in journal.steps),
            "skipped": [line for step in journal.steps for line in step["skipped"]],
            "warnings": [line for step in journal.steps for line in step["warnings"]],
        }
        if note["count"]:
            features = output_dir / _FEATURES
            shape = (note["count"], extractor.dimension)
            write_features(features, journal.growing(ROWS_FILE), shape)
            write_note(features, extractor.identity, shape, settings.descriptor_views)
        journal.finish(note, drop=(ROWS_FILE,))
        return _result(output_dir, note, before)


def _check_kept(output_dir: Path) -> None:
    note = output_dir / "activation.json"
    check_kept(output_dir / RECORDS_FILE, note)
    for record in read_records(output_dir / RECORDS_FILE):
        check_kept(output_dir / record["output"], note)


def _result(output_dir: Path, note: Mapping[str, Any], before: int) -> FolderActivation:
    features = output_dir / _FEATURES
    return FolderActivation(
        output_dir / RECORDS_FILE,
        features if features.is_file() else None,
        note["count"],
        before,
        tuple(note["skipped"]),
        tuple(note["warnings"]),
    )


@dataclass(frozen=True)
class _Item:
    """An image to activate: its number, its file, and its names before and after."""

    number: int
    source: Path
    name: str
    output: str


@dataclass(frozen=True)
class _Released:
    """An image that has been written: its record, its feature, and what is to be said of it."""

    record: bytes
    feature: Features
    warnings: list[str]
    noted: RecordedEvents


@dataclass(frozen=True)
class _Job:
    """Activates images and writes them; see :class:`~activeindex.runtime.pool.Job`.

    Watchers stay in the process that they are in; workers elsewhere note what they would be told.
    """

    recorder: Recorder
    output_dir: Path
    watchers: tuple[Watcher, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "watchers": ()}

    def __call__(
        self, items: Sequence[_Item], workers: LocalEngine
    ) -> Iterator[_Released | UnreadableImageError]:
        recorder = self.recorder
        reads = self._read(items, workers)
        begun: deque[_Read] = deque()

        def groups() -> Iterator[Group]:
            for read in reads:
                begun.append(read)
                yield Group(
                    [picture for _, picture in read.pictures],
                    [item.number for item, _ in read.pictures],
                    partial(_tell, read.watchers),
                )

        results = activate_groups(
            groups(),
            recorder.extractor,
            recorder.quantisers,
            recorder.settings,
            release=recorder.release,
            seed=recorder.seed,
        )
        for images in results:
            read = begun.popleft()
            released = iter(self._written(read, images))
            for error in read.errors:
                yield next(released) if error is None else error

    def _read(self, items: Sequence[_Item], workers: LocalEngine) -> Iterator["_Read"]:
        pictures = workers.map(_try_read, [item.source for item in items])
        for group in grouped(
            zip(items, pictures, strict=True),
            lambda one: one[1].area if isinstance(one[1], Picture) else 0,
            self.recorder.extractor.device,
        ):
            found: list[tuple[_Item, Picture]] = []
            errors: list[UnreadableImageError | None] = []
            for item, picture in group:
                if isinstance(picture, Picture):
                    _check(item.source, picture, self.recorder.release)
                    found.append((item, picture))
                errors.append(None if isinstance(picture, Picture) else picture)
            noted = RecordedEvents()
            yield _Read(found, errors, self.watchers or (noted,), noted)

    def _written(self, read: "_Read", images: Sequence[ActivatedImage]) -> list[_Released]:
        if not images:
            return []  # Nothing to tell of.
        recorder = self.recorder
        for watcher in read.watchers:
            watcher.images([item.number for item, _ in read.pictures], images)
        found: list[_Released] = []
        for (item, picture), image in zip(read.pictures, images, strict=True):
            written = self.output_dir / item.output
            write_bytes(written, image.data)
            record = recorder.record(
                image, item.number, (item.name, item.source), (item.output, written)
            )
            warnings = _warnings(item.source, picture, image, recorder.release)
            # What was noted of several images together goes with the first of them.
            noted = RecordedEvents() if found else read.noted
            found.append(_Released(record, image.feature, warnings, noted))
        return found


@dataclass(frozen=True)
class _Read:
    """What some files hold: pictures, or for each file the error that says why there is none."""

    pictures: Sequence[tuple[_Item, Picture]]
    errors: Sequence[UnreadableImageError | None]
    watchers: tuple[Watcher, ...]
    noted: RecordedEvents


def _tell(watchers: Sequence[Watcher], step: Step) -> None:
    for watcher in watchers:
        watcher.step(step)


def _check(source: Path, picture: Picture, release: ReleaseSettings) -> None:
    try:
        check_encodable(picture, release.format)
    except UnencodableError as error:
        raise UnencodableError(f"{source}: {error}") from None


def _warnings(
    source: Path, picture: Picture, result: ActivatedImage, release: ReleaseSettings
) -> list[str]:
    found = []
    if picture.has_transparency and not release.format.has_alpha:
        found.append(f"{source}: composed on white, since {release.format.name} holds no alpha")
    if not result.budget_met:
        found.append(
            f"{source}: not activated, since {release.format} alone breaks the budget "
            f"{release.budget} ({result.quality})"
        )
    return found


def _try_read(path: Path) -> Picture | UnreadableImageError:
    """Runs in a worker, where an error must not stop the other images."""
    try:
        return read_picture(path)
    except UnreadableImageError as error:
        return error


def _output_names(names: Sequence[Path], suffix: str) -> list[Path]:
    """``a.jpg`` becomes ``a.png``; ``a.jpg.png`` where another image would become ``a.png`` too."""
    chosen = [name.with_suffix(suffix) for name in names]
    while max((taken := Counter(chosen)).values()) > 1:
        # A long name can be another image's short one: ``a.jpg``, ``a.png`` and ``a.jpg.png``.
        chosen = [
            name.with_name(f"{name.name}{suffix}") if taken[now] > 1 else now
            for name, now in zip(names, chosen, strict=True)
        ]
    return chosen
