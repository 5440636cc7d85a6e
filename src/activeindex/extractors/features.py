"""Features of images, and of a folder of images streamed to disk."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.edits.differentiable import (
    check_fixed_views,
    edited_views,
    fixed_views,
    image_generator,
)
from activeindex.errors import InputError, UnreadableImageError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import (
    NAMES_FILE,
    ROWS_FILE,
    SUFFIXES,
    find_bad_row,
    write_features,
)
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import OTHER_IMAGES, check_outside, fingerprint, list_images
from activeindex.images.levels import Pixels, to_square
from activeindex.images.limits import max_pixels
from activeindex.runtime.devices import sent
from activeindex.runtime.files import check_kept, name_line
from activeindex.runtime.journal import Journal, is_begun
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import SILENT, Reporter

OnUnreadable = Literal["refuse", "skip"]
"""Treatment of files that cannot be decoded: stop and name one, or leave them out and name them."""

Decode = Literal["exact", "scaled"]
"""Decoding of JPEG files: in full, or as small as the extractor's input allows."""

Source = Path | Pixels
"""An image file, or 8-bit pixels ``(H, W, 3)``."""

_MARGIN = 2.5
"""Smallest ratio of a scaled JPEG to the extractor's input. At 2.6 (12 megapixels by 4, for
288 pixels) features keep a cosine above 0.999 to those of the exact path, at 1.3 they do not
(``benchmarks/extraction.py``)."""

_CPU_CHUNK = 4
"""Images that go through the network together on the CPU. Larger activations leave the cache and
are given back to the system after every layer: with 32 images, a third of the time is page faults
(docs/tried.md)."""

_FEW = 16
"""Images that are decoded sooner here than worker processes start, which import PyTorch."""

_CPU_BATCH = 32
"""Largest batch on the CPU, whatever is asked for: worker processes share out batches, and small
folders should keep all of them busy."""

_GPU_CHUNK = 64
"""Images that go through the network together on a GPU, which gets the next ones meanwhile."""


@dataclass(frozen=True)
class Extraction:
    """Files written by :func:`extract_folder`.

    Attributes:
        features: The feature file; a matrix ``(n, d)``.
        filenames: The text file with the ``n`` names, relative to the folder.
        count: ``n``.
        skipped: One line for each file that was left out, with the reason.
    """

    features: Path
    filenames: Path
    count: int
    skipped: tuple[str, ...]


def read_resized(
    source: Source, size: int, decode: Decode = "exact", most: int | None = None
) -> npt.NDArray[np.float32] | UnreadableImageError:
    """Read an image as ``(3, size, size)`` in [0, 1]; errors are returned.

    An error is a value because it comes from a worker process, where it must not stop the others.
    """
    enough = None if decode == "exact" else math.ceil(_MARGIN * size)
    try:
        if isinstance(source, Path):
            image = read_rgb(source, enough, most)
        else:
            image = Image.fromarray(source)
        return to_square(image, size).numpy()
    except UnreadableImageError as error:
        return error


def features_of(extractor: Extractor, images: torch.Tensor) -> npt.NDArray[np.float32]:
    """Compute the features ``(B, d)`` of images ``(B, 3, S, S)`` in [0, 1]."""
    device = extractor.device
    chunk = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
    with torch.inference_mode():
        parts = [extractor(part) for part in sent(torch.split(images, chunk), device)]
        features: npt.NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return features


def code_features(
    extractor: Extractor, images: torch.Tensor, views: int
) -> npt.NDArray[np.float32]:
    """Compute the features whose codes an index stores for activated images.

    Args:
        extractor: Maps images to features.
        images: ``(B, 3, S, S)`` in [0, 1].
        views: Number of edits, the same for all images, 16 at most; 0 for the images' own
            features.

    Returns:
        ``(B, d)``: of each image the mean over its own feature and those of its views, scaled to
        the length of its own. The code of that mean lies in the middle of the cells in which copies
        of the image are searched for; the image itself reaches it by activation only.
    """
    if views == 0:
        return features_of(extractor, images)
    own, means = [], []
    for image in torch.split(images, 1):
        with torch.inference_mode():
            here = image.to(extractor.device)
            seen = features_of(extractor, torch.cat([here, *fixed_views(here, views)]))
        own.append(seen[0])
        means.append(seen.mean(axis=0))
    return match_norms(np.stack(own), np.stack(means))


def match_norms(
    features: npt.NDArray[np.float32], directions: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Scale directions ``(n, d)`` to the lengths of features ``(n, d)``."""
    wanted, found = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (features, directions))
    scaled: npt.NDArray[np.float32] = directions * (wanted / np.maximum(found, 1e-12))
    return scaled.astype(np.float32)


@dataclass(frozen=True)
class ExtractedBatch:
    """Features and errors of a batch of files.

    Attributes:
        features: ``(n, d)``, of the ``n`` files that could be decoded, in their order.
        unreadable: The errors of the others, by their place in the batch.
    """

    features: npt.NDArray[np.float32]
    unreadable: dict[int, UnreadableImageError]

    def check(self, unreadable: OnUnreadable) -> None:
        """Raise the first error, if unreadable files are refused."""
        if unreadable == "refuse":
            for error in self.unreadable.values():
                raise error


@dataclass(frozen=True)
class ExtractionJob:
    """Job of an engine: batches of images to their features.

    Attributes:
        extractor: Maps the images to features.
        decode: Decoding of JPEG files.
        descriptor_views: See :func:`code_features`.
        edit_seed: Seeds an edit of each image file, together with its name; None for no edits.
        root: Folder that those names are relative to.
        max_pixels: The most pixels that an image file may have.
    """

    extractor: Extractor
    decode: Decode = "exact"
    descriptor_views: int = 0
    edit_seed: int | None = None
    root: Path = Path()
    max_pixels: int = field(default_factory=max_pixels)

    def __call__(
        self, items: Sequence[Sequence[Source]], workers: LocalEngine
    ) -> Iterator[ExtractedBatch]:
        """Yield the result of each batch."""
        size = self.extractor.input_size
        read = partial(read_resized, size=size, decode=self.decode, most=self.max_pixels)
        sizes = [len(sources) for sources in items]
        decoding = workers if sum(sizes) > _FEW else LocalEngine()
        # The next batch is decoded while this one goes through the network.
        ahead = max(sizes, default=1)
        images = decoding.map(read, chain.from_iterable(items), ahead=ahead)
        for sources in items:
            readable, unreadable = [], {}
            for number, source in enumerate(sources):
                image = next(images)
                if isinstance(image, UnreadableImageError):
                    unreadable[number] = image
                else:
                    readable.append((source, image))
            yield ExtractedBatch(self._features(readable), unreadable)

    def _features(
        self, images: Sequence[tuple[Source, npt.NDArray[np.float32]]]
    ) -> npt.NDArray[np.float32]:
        """Compute the features ``(n, d)`` of images ``(3, S, S)``."""
        if not images:
            return np.empty((0, self.extractor.dimension), np.float32)
        squares = torch.from_numpy(np.stack([image for _, image in images]))
        if self.edit_seed is None:
            return code_features(self.extractor, squares, self.descriptor_views)
        paths = (source for source, _ in images if isinstance(source, Path))
        names = [path.relative_to(self.root).as_posix() for path in paths]
        numbers = [zlib.crc32(name.encode("utf-8", "surrogateescape")) for name in names]
        generators = [image_generator(self.edit_seed, number) for number in numbers]
        with torch.inference_mode():
            views = edited_views(squares.to(self.extractor.device), generators)
        return features_of(self.extractor, views.clamp(0.0, 1.0))


def extract_folder(
    extractor: Extractor,
    data_dir: Path,
    output_dir: Path,
    *,
    batch_size: int = 256,
    workers: Engine | None = None,
    unreadable: OnUnreadable = "refuse",
    decode: Decode = "exact",
    descriptor_views: int = 0,
    edit_seed: int | None = None,
    suffix: str = ".pt",
    reporter: Reporter = SILENT,
    title: str = "features",
) -> Extraction:
    """Extract the features of every image below a folder.

    Memory does not grow with the folder. Killed at any moment and started again with the same
    arguments, it goes on after the last whole batch and ends with the same files.

    Args:
        extractor: Maps the images to features.
        data_dir: The images; sorted by path.
        output_dir: Folder for ``fts{suffix}``, ``filenames.txt`` and the note ``fts.json``.
        batch_size: Images that go through the extractor together, at most.
        workers: Engine that computes; this process alone by default.
        unreadable: ``"refuse"`` or ``"skip"`` files that cannot be decoded.
        decode: ``"exact"``, or ``"scaled"`` for speed on large JPEGs.
        descriptor_views: Views whose features are averaged with the image's
            (:func:`code_features`); for the index of images that are activated with as many.
        edit_seed: Extract the features of edited copies instead, one edit at random for each
            image, seeded by this and the image's name
            (:func:`~activeindex.edits.differentiable.edited_views`).
        suffix: ``.pt``, ``.pth`` or ``.npy``.
        reporter: Shows the progress.
        title: Title of the progress.

    Raises:
        InputError: If the folder is missing or without images, an option is out of range, both
            views and edits are asked for, or ``output_dir`` is the same folder or below it, or
            holds an unfinished run with other arguments.
        UnreadableImageError: If a file cannot be decoded and ``unreadable`` is ``"refuse"``.
    """
    if suffix not in SUFFIXES:
        raise InputError(f"format: expected one of {', '.join(SUFFIXES)}, found {suffix!r}")
    if decode not in get_args(Decode):
        raise InputError(f"decode: expected one of {', '.join(get_args(Decode))}, found {decode!r}")
    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
    check_fixed_views("descriptor_views", descriptor_views)
    if edit_seed is not None and edit_seed < 0:
        raise InputError(f"edit_seed: expected 0 or more, found {edit_seed}")
    if descriptor_views and edit_seed is not None:
        raise InputError("edit_seed: expected none with descriptor_views, found both")
    check_outside(output_dir, data_dir)
    paths = list_images(data_dir)
    names = [path.relative_to(data_dir).as_posix() for path in paths]
    identity = {
        "extractor": extractor.identity.as_json(),
        "data_dir": str(data_dir.resolve()),
        "images": fingerprint(data_dir, paths),
        "batch_size": batch_size,
        "unreadable": unreadable,
        "decode": decode,
        "format": suffix,
        "descriptor_views": descriptor_views or None,
        "edit_seed": edit_seed,
    }
    if is_begun(output_dir, "activation") and not is_begun(output_dir, "fts"):
        raise InputError(
            f"output_dir {output_dir}: expected one without activated images, found an unfinished "
            "activation, which writes features, too; give another output_dir"
        )
    journal = Journal(
        output_dir,
        "fts",
        identity,
        (ROWS_FILE, NAMES_FILE),
        ignored_keys=("data_dir", "unreadable", "extractor_sha256"),
        explanations=OTHER_IMAGES,
    )
    features, filenames = output_dir / f"fts{suffix}", output_dir / NAMES_FILE
    with journal, reporter.stage(title, len(paths)) as progress:
        if journal.note is None:
            # Steps may be of other sizes: a run can go on on another device.
            done = sum(step["images"] + len(step["skipped"]) for step in journal.steps)
            progress.advance(done)
            size = min(batch_size, _CPU_BATCH) if extractor.device.type == "cpu" else batch_size
            starts = range(done, len(paths), size)
            batches = (workers or LocalEngine()).run(
                ExtractionJob(extractor, decode, descriptor_views, edit_seed, data_dir),
                [paths[start : start + size] for start in starts],
            )
            for start, batch in zip(starts, batches, strict=True):
                batch.check(unreadable)
                _write_batch(extractor, batch, names[start : start + size], journal)
                progress.advance(len(names[start : start + size]))
            _finish(extractor, data_dir, features, journal)
        else:
            progress.advance(len(paths))
            for file in (features, filenames):
                check_kept(file, output_dir / "fts.json")
        note = journal.note
    assert note is not None
    return Extraction(features, filenames, note["count"], tuple(note["skipped"]))


def check_finite(
    features: npt.NDArray[np.float32], names: Sequence[str], extractor: Extractor
) -> None:
    """Check features ``(n, d)`` of images with these names.

    Raises:
        InputError: Naming the first image whose feature has NaN or infinity.
    """
    if bad := find_bad_row(features):
        row, found = bad
        raise InputError(
            f"{names[row]}: expected finite features, the extractor {extractor.identity.name} gave "
            f"{found}"
        )


def _write_batch(
    extractor: Extractor, batch: ExtractedBatch, names: list[str], journal: Journal
) -> None:
    readable = [name for number, name in enumerate(names) if number not in batch.unreadable]
    check_finite(batch.features, readable, extractor)
    journal.write(ROWS_FILE, batch.features.astype("<f4").tobytes())
    journal.write(NAMES_FILE, "".join(f"{name_line(name)}\n" for name in readable).encode())
    skipped = [str(error) for error in batch.unreadable.values()]
    journal.commit({"images": len(readable), "skipped": skipped})


def _finish(extractor: Extractor, data_dir: Path, features: Path, journal: Journal) -> None:
    count = sum(step["images"] for step in journal.steps)
    skipped = [line for step in journal.steps for line in step["skipped"]]
    if count == 0:
        raise InputError(f"data_dir {data_dir}: expected readable images, found {skipped[0]}")
    write_features(features, journal.growing(ROWS_FILE), (count, extractor.dimension))
    journal.finish(
        {"count": count, "dimension": extractor.dimension, "skipped": skipped}, drop=(ROWS_FILE,)
    )
