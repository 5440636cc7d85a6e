"""Activation of a folder of images, resumable."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activeindex.activation.activate import PAPER, activate
from activeindex.activation.records import RECORDS_FILE, Recorder, check_released
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError, UnreadableImageError
from activeindex.extractors import Extractor, OnUnreadable
from activeindex.images import Pixels, fingerprint, list_images, read_rgb, to_tensor, write_png
from activeindex.indexing import Quantiser
from activeindex.running.journal import Journal
from activeindex.running.progress import Progress, Silent
from activeindex.running.workers import Workers

_BATCH = 16
"""Images between two points that a killed run goes on from."""


@dataclass(frozen=True)
class FolderActivation:
    """What :func:`activate_folder` wrote.

    Attributes:
        records: The records' file, one JSON line per activated image.
        count: How many images were activated.
        skipped: One line for each file that was left out, with the reason.
    """

    records: Path
    count: int
    skipped: tuple[str, ...]


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
    quantiser: Quantiser,
    settings: ActivationSettings = PAPER,
    *,
    seed: int = 0,
    force: bool = False,
    workers: Workers | None = None,
    unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> FolderActivation:
    """Activates every image below a folder and writes it as PNG under the same relative name.

    Killed at any moment and started again with the same arguments, it goes on after the last whole
    batch.

    Args:
        data_dir: The images; sorted by path.
        output_dir: Gets the images and ``activation.jsonl``, one record per image.
        extractor: The extractor that the index was built with.
        quantiser: The quantiser of the index that will be searched.
        settings: What to optimise and how.
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
    if not force:
        check_released(data_dir, quantiser, extractor)
    progress, workers = progress or Silent(), workers or Workers()
    paths = list_images(data_dir)
    outputs = _output_names([path.relative_to(data_dir) for path in paths])
    identity = {
        "extractor": str(extractor.identity),
        "quantiser": str(quantiser.identity or ""),
        "images": fingerprint(data_dir, paths),
        "settings": asdict(settings),
        "seed": seed,
        "unreadable": unreadable,
    }
    recorder = Recorder(quantiser, extractor, settings, seed)
    with Journal(output_dir, "activation", identity, (RECORDS_FILE,)) as journal:
        if journal.note is not None:
            progress.advance(len(paths))
            return _result(output_dir, journal.note)
        done = len(journal.steps) * _BATCH
        progress.advance(min(done, len(paths)))
        images = workers.map(_try_read, paths[done:])
        for first in range(done, len(paths), _BATCH):
            numbers = range(first, min(first + _BATCH, len(paths)))
            read = {number: next(images) for number in numbers}
            errors = [image for image in read.values() if isinstance(image, UnreadableImageError)]
            if errors and unreadable == "refuse":
                raise errors[0]
            pixels = {n: image for n, image in read.items() if isinstance(image, np.ndarray)}
            for number, image in pixels.items():
                result = activate(
                    [to_tensor(image)], extractor, quantiser, settings, seed=seed, numbers=[number]
                ).images[0]
                write_png(output_dir / outputs[number], result.pixels)
                name, output = paths[number].relative_to(data_dir), outputs[number]
                record = recorder.record(
                    result,
                    number,
                    (name.as_posix(), paths[number]),
                    (output.as_posix(), output_dir / output),
                )
                journal.write(RECORDS_FILE, record)
                progress.advance(1, psnr=result.quality.psnr)
            journal.commit({"images": len(pixels), "skipped": [str(error) for error in errors]})
            progress.advance(len(errors))
        note = {
            "count": sum(step["images"] for step in journal.steps),
            "skipped": [line for step in journal.steps for line in step["skipped"]],
        }
        journal.finish(note)
        return _result(output_dir, note)


def _result(output_dir: Path, note: Mapping[str, Any]) -> FolderActivation:
    return FolderActivation(output_dir / RECORDS_FILE, note["count"], tuple(note["skipped"]))


def _try_read(path: Path) -> Pixels | UnreadableImageError:
    """Runs in a worker, where an error must not stop the other images."""
    try:
        return read_pixels(path)
    except UnreadableImageError as error:
        return error


def _output_names(names: Sequence[Path]) -> list[Path]:
    """``a.jpg`` becomes ``a.png``; ``a.jpg.png`` where another image would become ``a.png`` too."""
    chosen = [name.with_suffix(".png") for name in names]
    while max((taken := Counter(chosen)).values()) > 1:
        # A long name can be another image's short one: ``a.jpg``, ``a.png`` and ``a.jpg.png``.
        chosen = [
            name.with_name(f"{name.name}.png") if taken[now] > 1 else now
            for name, now in zip(names, chosen, strict=True)
        ]
    return chosen
