"""Work of the service's processes: features of uploads, and released files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from activeindex.activation.activate import Activation
from activeindex.activation.job import Item, Released, ReleaseJob
from activeindex.activation.settings import DESCRIPTOR_VIEWS
from activeindex.errors import ActiveIndexError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import ExtractionJob
from activeindex.images.decoding import read_rgb
from activeindex.images.formats import FormatName
from activeindex.indexing.artefact import TrainedIndex
from activeindex.runtime.files import file_hash, parse_json, sync_folder
from activeindex.runtime.pool import LocalEngine

Feature = npt.NDArray[np.float32]

THUMBNAIL = 512
"""Longer side of a thumbnail in pixels."""

_WEBP_QUALITY = 80


@dataclass(frozen=True)
class ExtractUploads:
    """Decodes uploads and extracts their features; see ``activeindex search``.

    Attributes:
        extractor: Maps images to features.
        max_pixels: The most pixels that a file may have.
    """

    extractor: Extractor
    max_pixels: int

    def __call__(self, paths: Sequence[Path]) -> list[Feature | str]:
        """Return the feature ``(d,)`` of each file, or a line that says why it has none."""
        job = ExtractionJob(self.extractor, max_pixels=self.max_pixels)
        batch = next(iter(job([paths], LocalEngine())))
        features = iter(batch.features)
        return [
            _without_folder(batch.unreadable[place], path)
            if place in batch.unreadable
            else next(features)
            for place, path in enumerate(paths)
        ]


@dataclass(frozen=True)
class Wish:
    """A picture to activate and release.

    Attributes:
        path: Its file.
        name: Its name in the store.
        preset: Preset of the activation.
        format: Format of the released file.
        quality: Quality of a lossy format; None for the usual one.
    """

    path: Path
    name: str
    preset: str
    format: FormatName
    quality: int | None = None


@dataclass(frozen=True)
class Release:
    """A released picture.

    Attributes:
        file: Its file, relative to the folder of released files; named by its hash.
        record: The activation record.
        feature: Feature ``(d,)`` whose code the store has.
        released_feature: Feature ``(d,)`` of the released picture.
        thumbnail: A small copy of the original, as WebP.
        warnings: A line for whatever is not quite as asked for.
    """

    file: str
    record: dict[str, Any]
    feature: Feature
    released_feature: Feature
    thumbnail: bytes
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ActivateUpload:
    """Activates a picture as ``activeindex register`` does, and writes its released file.

    Attributes:
        extractor: Maps images to features.
        index: The index that pictures are activated for.
        folder: Folder of the released files.
        max_pixels: The most pixels that a file may have.
        niceness: Niceness of the process, so that searches go first.
    """

    extractor: Extractor
    index: TrainedIndex
    folder: Path
    max_pixels: int
    niceness: int = 0

    def __call__(self, wish: Wish) -> Release | str:
        """Return the release, or a line that says why there is none."""
        _be_nice(self.niceness)
        try:
            return self._released(wish)
        except ActiveIndexError as error:
            return _without_folder(error, wish.path)

    def _released(self, wish: Wish) -> Release | str:
        activation = Activation.of(
            self.index,
            self.extractor,
            wish.preset,
            0,
            format=wish.format,
            quality=wish.quality,
            descriptor_views=DESCRIPTOR_VIEWS,
        )
        suffix = activation.release.format.suffix
        incoming = f"{wish.path.name}{suffix}"
        job = ReleaseJob(activation, activation.release, self.folder, max_pixels=self.max_pixels)
        [result] = job([Item(0, wish.path, wish.name, incoming)], LocalEngine())
        if not isinstance(result, Released) or result.image is None:
            return _without_folder(result, wish.path)
        written = self.folder / incoming
        extraction = ExtractionJob(self.extractor, max_pixels=self.max_pixels)
        released = next(iter(extraction([[written]], LocalEngine()))).features[0]
        digest = file_hash(written)
        file = Path(digest[:2], f"{digest}{suffix}")
        place = self.folder / file
        place.parent.mkdir(exist_ok=True)
        written.replace(place)
        for folder in (place.parent, self.folder):
            sync_folder(folder)
        record = parse_json(result.record) | {"output": file.as_posix()}
        warnings = tuple(_without_folder(line, wish.path) for line in result.warnings)
        thumbnail = thumbnail_of(wish.path, self.max_pixels)
        return Release(file.as_posix(), record, result.image.feature, released, thumbnail, warnings)


def thumbnail_of(path: Path, max_pixels: int) -> bytes:
    """A copy of a picture of at most 512 px, as WebP without metadata."""
    image = read_rgb(path, most=max_pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "WEBP", quality=_WEBP_QUALITY)
    return file.getvalue()


@lru_cache(maxsize=1)
def _be_nice(niceness: int) -> None:
    os.nice(niceness)


def _without_folder(error: object, path: Path) -> str:
    """A line about an upload that does not tell where the server keeps it."""
    return str(error).replace(f"{path}: ", "").replace(str(path), "the file")
