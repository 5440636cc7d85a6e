"""Activation of a folder of images, resumable."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.activation.activate import AS_PNG, PAPER, activate, as_tuple, together_on
from activeindex.activation.records import RECORDS_FILE, Recorder, check_released
from activeindex.activation.release import ReleaseSettings
from activeindex.activation.results import ActivatedImage
from activeindex.activation.settings import ActivationSettings
from activeindex.activation.watching import LiveFigures
from activeindex.errors import InputError, UnencodableError, UnreadableImageError
from activeindex.extractors import Extractor, OnUnreadable
from activeindex.images import (
    Picture,
    Pixels,
    check_encodable,
    fingerprint,
    list_images,
    read_picture,
    read_rgb,
    write_bytes,
)
from activeindex.indexing import Quantiser
from activeindex.running.journal import Journal
from activeindex.running.progress import Progress, Silent
from activeindex.running.workers import Workers

_BATCH = 16
"""Images between two points that a killed run goes on from; more where more go together."""


@dataclass(frozen=True)
class FolderActivation:
    """What :func:`activate_folder` wrote.

    Attributes:
        records: The records' file, one JSON line per activated image.
        count: How many images were activated.
        skipped: One line for each file that was left out, with the reason.
        warnings: One line for each image that is not quite what was asked for: whose budget cannot
            be met, or whose transparency the format cannot hold.
    """

    records: Path
    count: int
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
    workers: Workers | None = None,
    unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> FolderActivation:
    """Activates every image below a folder and writes it under the same relative name.

    Transparency, greyness, EXIF and ICC profile are kept; the pixels are stored upright, and the
    orientation in EXIF says so. Killed at any moment and started again with the same arguments, it
    goes on after the last whole batch.

    Args:
        data_dir: The images; sorted by path.
        output_dir: Gets the images and ``activation.jsonl``, one record per image.
        extractor: The extractor that the index was built with.
        quantiser: The quantiser of the index that will be searched, or those of several.
        settings: What to optimise and how.
        release: The format of the files, and the budget that each of them keeps.
        seed: Seeds the noise that the distortions start from.
        force: Whether to activate images that were activated for another index before.
        workers: Processes that decode.
        unreadable: Whether to refuse or to skip files that cannot be decoded.
        progress: Told of every image.

    Raises:
        InputError: If the folder is missing or without images, the output folder is the same or
            below it, it holds an unfinished run with other arguments, or the images were
            activated for another index or through another extractor.
        UnreadableImageError: If a file cannot be decoded and ``unreadable`` is ``"refuse"``.
    """
    if output_dir.resolve().is_relative_to(data_dir.resolve()):
        # Below it, the outputs would be among the images of the next start.
        raise InputError(f"output_dir {output_dir}: expected a folder outside data_dir {data_dir}")
    quantisers = as_tuple(quantiser)
    if not force:
        for each in quantisers:
            check_released(data_dir, each, extractor)
    progress, workers = progress or Silent(), workers or Workers()
    paths = list_images(data_dir)
    suffix = release.format.suffix
    outputs = _output_names([path.relative_to(data_dir) for path in paths], suffix)
    identity = {
        "extractor": str(extractor.identity),
        "quantiser": " and ".join(str(each.identity or "") for each in quantisers),
        "images": fingerprint(data_dir, paths),
        "settings": asdict(settings),
        "release": asdict(release),
        "seed": seed,
        "unreadable": unreadable,
    }
    recorder = Recorder(quantisers, extractor, settings, release, seed)
    with Journal(output_dir, "activation", identity, (RECORDS_FILE,)) as journal:
        if journal.note is not None:
            progress.advance(len(paths))
            return _result(output_dir, journal.note)
        # Steps may be of other sizes: a run can go on on another device.
        done = sum(step["images"] + len(step["skipped"]) for step in journal.steps)
        progress.advance(min(done, len(paths)))
        figures = LiveFigures(progress)
        images = workers.map(_try_read, paths[done:])
        together = together_on(extractor.device)
        batch = max(_BATCH, together)
        for first in range(done, len(paths), batch):
            numbers = range(first, min(first + batch, len(paths)))
            read = {number: next(images) for number in numbers}
            errors = [image for image in read.values() if isinstance(image, UnreadableImageError)]
            if errors and unreadable == "refuse":
                raise errors[0]
            pictures = {n: image for n, image in read.items() if isinstance(image, Picture)}
            for number, picture in pictures.items():
                _check(paths[number], picture, release)
            warnings: list[str] = []
            readable = list(pictures)
            for start in range(0, len(readable), together):
                chosen = readable[start : start + together]
                activated = activate(
                    [pictures[number] for number in chosen],
                    extractor,
                    quantisers,
                    settings,
                    release=release,
                    seed=seed,
                    numbers=chosen,
                    on_step=figures.step,
                )
                figures.images(chosen, activated.images)
                for number, result in zip(chosen, activated.images, strict=True):
                    source, output = paths[number], outputs[number]
                    write_bytes(output_dir / output, result.data)
                    record = recorder.record(
                        result,
                        number,
                        (source.relative_to(data_dir).as_posix(), source),
                        (output.as_posix(), output_dir / output),
                    )
                    journal.write(RECORDS_FILE, record)
                    warnings += _warnings(source, pictures[number], result, release)
                    progress.advance()
            skipped = [str(error) for error in errors]
            journal.commit({"images": len(pictures), "skipped": skipped, "warnings": warnings})
            progress.advance(len(errors))
        note = {
            "count": sum(step["images"] for step in journal.steps),
            "skipped": [line for step in journal.steps for line in step["skipped"]],
            "warnings": [line for step in journal.steps for line in step["warnings"]],
        }
        journal.finish(note)
        return _result(output_dir, note)


def _result(output_dir: Path, note: Mapping[str, Any]) -> FolderActivation:
    return FolderActivation(
        output_dir / RECORDS_FILE, note["count"], tuple(note["skipped"]), tuple(note["warnings"])
    )


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
