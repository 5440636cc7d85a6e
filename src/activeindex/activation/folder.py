"""Activation of a folder of images, resumable."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from activeindex.activation.activate import Activation, together_on
from activeindex.activation.job import Item, LiveFigures, Released, ReleaseJob
from activeindex.activation.records import RECORDS_FILE, check_released, read_records
from activeindex.activation.results import FEATURES_FILE, output_names
from activeindex.activation.settings import BEFORE, Preset, noted
from activeindex.errors import InputError
from activeindex.extractors.coerce import ExtractorLike
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    ROWS_FILE,
    is_of_activation,
    write_features,
    write_note,
)
from activeindex.extractors.features import OnUnreadable
from activeindex.images.folder import OTHER_IMAGES, check_outside, fingerprint, list_images
from activeindex.indexing.coerce import IndexLike
from activeindex.runtime.fields import OTHER_FUNCTIONS, as_json, functions_hash
from activeindex.runtime.files import check_kept, check_written, name_line, path_inside
from activeindex.runtime.journal import Journal, begun_identity, is_begun
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import SILENT, Reporter


@dataclass(frozen=True)
class FolderActivation:
    """Outcome of :func:`activate_folder`.

    Attributes:
        records: The records' file, one JSON line per activated image.
        features: The features whose codes the indexes store, a row per activated image; the names
            of the originals are in ``filenames.txt`` beside it. None if there is no image, or the
            folder was finished by a release that did not write them.
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


def activate_folder(
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    index: IndexLike | Sequence[IndexLike] | None = None,
    extractor: ExtractorLike = None,
    *,
    preset: str | Preset = "thorough",
    seed: int = 0,
    force: bool = False,
    workers: Engine | None = None,
    unreadable: OnUnreadable = "refuse",
    reporter: Reporter = SILENT,
    **options: Any,
) -> FolderActivation:
    """Activate every image of a folder, and write it under the same relative name.

    Transparency, greyness, EXIF and ICC profile are kept; the pixels are stored upright, and the
    orientation in EXIF says so. Killed at any moment and started again with the same arguments, it
    goes on after the last image, on an accelerator after the last group of them.

    Args:
        data_dir: The images; sorted by path.
        output_dir: Gets the images, ``activation.jsonl``, one record per image, and as
            :func:`~activeindex.extractors.extract_folder` would write them ``fts.pt``,
            ``filenames.txt`` and ``fts.json``: the features whose codes are to be stored.
        index: The index that will be searched, or several, as of
            :func:`~activeindex.activation.activate.activate`.
        extractor: The extractor of the features that the index was trained on.
        preset: ``thorough``, ``deep``, ``fast``, ``paper`` or ``harden``, or your own.
        seed: Seeds the noise that the distortions start from, together with the SHA-256 of each
            file, so that a picture gets the same file whatever lies beside it.
        force: Whether to activate images that were activated for another index before.
        workers: The engine; this process alone by default.
        unreadable: Whether to refuse or to skip files that cannot be decoded.
        reporter: Shows the progress.
        options: ``format``, ``quality``, ``psnr``, ``ssim``, ``linf``, ``ssimulacra2``, ``measure``
            and fields of
            :class:`~activeindex.activation.settings.ActivationSettings`, as of
            :func:`~activeindex.activation.activate.activate`.

    Raises:
        InputError: If the folder is missing or without images, the output folder is the same or
            below it, it holds an unfinished run with other arguments or features of other images,
            or the images were activated for another index or through another extractor.
        UnreadableImageError: If a file cannot be decoded and ``unreadable`` is ``"refuse"``.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    check_outside(output_dir, data_dir)
    activation = Activation.of(index, extractor, preset, seed, **options)
    begun = begun_identity(output_dir, "activation")
    older = begun is not None and "full_size" not in begun[1].get("settings", {})
    if older:  # What release 0.2 has begun goes on as it did it.
        budget = replace(activation.release.budget, ssimulacra2=None)
        activation = replace(
            activation,
            settings=activation.settings.replace(**BEFORE),
            release=replace(activation.release, budget=budget),
        )
    loaded, quantisers, release = activation.extractor, activation.quantisers, activation.release
    if not force:
        for each in quantisers:
            check_released(data_dir, each, loaded)
    workers = workers or LocalEngine()
    paths = list_images(data_dir)
    suffix = release.format.suffix
    outputs = output_names([path.relative_to(data_dir) for path in paths], suffix)
    identity = {
        "extractor": loaded.identity.as_json(),
        "quantiser": [each.identity and each.identity.as_json() for each in quantisers],
        "images": fingerprint(data_dir, paths),
        "settings": (noted if older else as_json)(activation.settings),
        "functions": functions_hash(activation.settings),
        "release": release.as_json(),
        "seed": seed,
        "unreadable": unreadable,
        "noise": "sha256",
    }
    by_number = begun is not None and "noise" not in begun[1]
    if by_number:
        del identity["noise"]  # Release 0.1 has begun it, and seeded noise by number.
    own = is_begun(output_dir, "activation") or is_of_activation(output_dir / FEATURES_FILE)
    if is_begun(output_dir, "fts") and not own:
        raise InputError(
            f"output folder {output_dir}: expected one without features of other images, found "
            "those of extract_fts; give another output folder"
        )
    files = (RECORDS_FILE, ROWS_FILE, NAMES_FILE)
    # What was not refused so far would not have been skipped, either.
    free = ("unreadable",)
    others = OTHER_IMAGES | OTHER_FUNCTIONS
    journal = Journal(
        output_dir, "activation", identity, files, ignored_keys=free, explanations=others
    )
    with journal, reporter.stage("activate", len(paths)) as progress:
        if journal.note is not None:
            progress.advance(len(paths))
            if journal.note["count"]:
                _check_kept(output_dir)
            return _result(output_dir, journal.note, journal.note["count"])
        # Steps may be of other sizes: a run can go on on another device.
        before = sum(step["images"] for step in journal.steps)
        done = before + sum(len(step["skipped"]) for step in journal.steps)
        progress.advance(min(done, len(paths)))
        figures = LiveFigures()
        items = [
            Item(number, path, path.relative_to(data_dir).as_posix(), output.as_posix())
            for number, (path, output) in enumerate(zip(paths, outputs, strict=True))
        ][done:]
        job = ReleaseJob(activation, release, output_dir.absolute(), noise_by_number=by_number)
        results = workers.run(job, items)
        size = together_on(loaded.device)  # A killed run loses no more than what goes together.
        for first in range(0, len(items), size):
            batch = items[first : first + size]
            skipped: list[str] = []
            warnings: list[str] = []
            for item in batch:
                result = next(results)
                if isinstance(result, Released):
                    assert result.image is not None
                    assert item.output is not None
                    check_written(output_dir / item.output)
                    journal.write(RECORDS_FILE, result.record)
                    journal.write(ROWS_FILE, result.image.feature.astype("<f4").tobytes())
                    journal.write(NAMES_FILE, f"{name_line(item.name)}\n".encode())
                    warnings += result.warnings
                    progress.advance(1, **figures.of(result))
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
            features = output_dir / FEATURES_FILE
            shape = (note["count"], loaded.dimension)
            write_features(features, journal.growing(ROWS_FILE), shape)
            views = activation.settings.descriptor_views
            write_note(features, loaded.identity, shape, views)
        journal.finish(note, drop=(ROWS_FILE,))
        return _result(output_dir, note, before)


def _check_kept(output_dir: Path) -> None:
    note = output_dir / "activation.json"
    check_kept(output_dir / RECORDS_FILE, note)
    for record in read_records(output_dir / RECORDS_FILE):
        check_kept(path_inside(output_dir, str(record["output"]), str(note)), note)


def _result(output_dir: Path, note: Mapping[str, Any], before: int) -> FolderActivation:
    features = output_dir / FEATURES_FILE
    return FolderActivation(
        output_dir / RECORDS_FILE,
        features if features.is_file() else None,
        note["count"],
        before,
        tuple(note["skipped"]),
        tuple(note["warnings"]),
    )
