"""Results of an activation: images with their files and outcomes."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from activeindex.activation.records import RECORDS_FILE, record_json
from activeindex.activation.settings import MEASURES
from activeindex.errors import InputError, import_extra
from activeindex.extractors.feature_files import NAMES_FILE, write_features, write_note
from activeindex.identity import ExtractorIdentity
from activeindex.images.encoding import write_bytes
from activeindex.images.formats import FileFormat
from activeindex.images.levels import Pixels
from activeindex.images.quality import Quality
from activeindex.runtime.files import name_line, path_inside, write_text
from activeindex.runtime.reporting import counted

FEATURES_FILE = "fts.pt"

_COLUMNS = ("name", "psnr", "ssim", "linf", "distance_before", "distance_after", "budget_met")
"""Columns of a data frame; the measures that were asked for come after them."""

_SHOWN = 20
"""Images that a printed table has at most."""


@dataclass(frozen=True)
class IndexOutcome:
    """Outcome of an image in one index.

    Attributes:
        code: The code that the index stores, of :attr:`ActivatedImage.feature`.
        distance_before: Euclidean distance of the original's feature to the target.
        distance_after: Euclidean distance of the released image's feature to the target.
    """

    code: bytes
    distance_before: float
    distance_after: float


@dataclass(frozen=True, eq=False)
class ActivatedImage:
    """One image after activation.

    Attributes:
        data: The file that is to be released.
        pixels: Its 8-bit RGB pixels ``(H, W, 3)``, transparency composed on white.
        quality: PSNR, SSIM and L-infinity of ``pixels`` against the 8-bit original.
        budget_met: Whether the file keeps its budget. If not, the file format alone breaks it, and
            the image is only encoded.
        passes: How often the image went through the extractor and back.
        aims: The outcome in each index, in their order.
        feature: ``(d,)``, the feature whose code the indexes store: the *original*'s, or the mean
            over views of it that the settings ask for.
        released_feature: ``(d,)``, the feature of ``pixels``.
        name: The name of the original; None where it has none.
        record: The line about it in ``activation.jsonl``; empty where only the core was used.
    """

    data: bytes = field(repr=False)
    pixels: Pixels = field(repr=False)
    quality: Quality
    budget_met: bool
    passes: int
    aims: tuple[IndexOutcome, ...] = field(repr=False)
    feature: npt.NDArray[np.float32] = field(repr=False)
    released_feature: npt.NDArray[np.float32] = field(repr=False)
    name: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """The pixels, for NumPy and for all functions that take images."""
        return np.array(self.pixels, dtype=dtype, copy=copy)

    @property
    def image(self) -> Image.Image:
        """The file, opened with Pillow: with its transparency, EXIF and ICC profile."""
        return Image.open(io.BytesIO(self.data))

    @property
    def suffix(self) -> str:
        """The suffix of the file's name."""
        return FileFormat(self.record.get("format", "png")).suffix

    @property
    def psnr(self) -> float:
        """PSNR in dB; infinite where nothing is changed."""
        return self.quality.psnr

    @property
    def ssim(self) -> float:
        """SSIM, at most 1."""
        return self.quality.ssim

    @property
    def linf(self) -> int:
        """The largest change of a pixel value in 8-bit levels."""
        return self.quality.linf

    @property
    def ssimulacra2(self) -> float | None:
        """SSIMULACRA2, at most 100; None where it was not measured."""
        return self.quality.ssimulacra2

    @property
    def delta_e(self) -> float | None:
        """Colour difference of the region that changed most; None where it was not measured."""
        return self.quality.delta_e

    @property
    def code(self) -> bytes:
        """The code that the first index stores."""
        return self.aims[0].code

    @property
    def distance_before(self) -> float:
        """Mean distance of the original's feature to its targets."""
        return float(np.mean([aim.distance_before for aim in self.aims]))

    @property
    def distance_after(self) -> float:
        """Mean distance of the feature of ``pixels`` to the same targets."""
        return float(np.mean([aim.distance_after for aim in self.aims]))


@dataclass(frozen=True)
class ActivationResult:
    """Activated images, in order: a sequence that prints as a table.

    Attributes:
        images: The images.
    """

    images: tuple[ActivatedImage, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ActivatedImage:
        return self.images[index]

    def __iter__(self) -> Iterator[ActivatedImage]:
        return iter(self.images)

    @property
    def names(self) -> list[str]:
        """Names of the images: ``00000.png``, … where they have none."""
        return [image.name or f"{place:05d}{image.suffix}" for place, image in enumerate(self)]

    @property
    def psnr(self) -> float:
        """Mean PSNR in dB."""
        return self._mean("psnr")

    @property
    def ssim(self) -> float:
        """Mean SSIM."""
        return self._mean("ssim")

    @property
    def linf(self) -> float:
        """Mean L-infinity in 8-bit levels."""
        return self._mean("linf")

    @property
    def distance_before(self) -> float:
        """Mean distance of the original features to their targets."""
        return self._mean("distance_before")

    @property
    def distance_after(self) -> float:
        """Mean distance of the activated images' features to the same targets."""
        return self._mean("distance_after")

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a folder as ``activeindex activate`` does, for ``activeindex store add``.

        Images get their names, with the suffix of their format, and ``00000.png``, ``00001.png``, …
        where they have none. Beside them lie ``activation.jsonl``, one record per image, and the
        features whose codes an index is to store: ``fts.pt``, ``filenames.txt``, ``fts.json``.

        Returns:
            The folder.

        Raises:
            InputError: If two images have the same name, or a name leads out of the folder.
            OutputError: If a file cannot be written.
        """
        root, names = Path(folder), self.names
        suffix = self.images[0].suffix if self.images else ""
        for name in names:
            path_inside(root, name, "image")
        outputs = output_names([Path(name) for name in names], suffix)
        lines = []
        for name, output, image in zip(names, outputs, self.images, strict=True):
            write_bytes(root / output, image.data)
            sha256 = hashlib.sha256(image.data).hexdigest()
            record = {"name": name, "output": output.as_posix(), "output_sha256": sha256}
            lines.append(record_json({**image.record, **record}))
        write_text(root / RECORDS_FILE, "".join(f"{line}\n" for line in lines))
        write_text(root / NAMES_FILE, "".join(f"{name_line(name)}\n" for name in names))
        if self.images:
            self._save_features(root / FEATURES_FILE)
        return root

    def _save_features(self, path: Path) -> None:
        features = np.stack([image.feature for image in self.images]).astype("<f4")
        rows = path.with_suffix(".rows")
        features.tofile(rows)
        write_features(path, rows, features.shape)
        rows.unlink()
        record = self.images[0].record
        extractor = ExtractorIdentity.from_json(record["extractor"])
        assert extractor is not None
        write_note(path, extractor, features.shape, record["settings"]["descriptor_views"])

    def to_pandas(self) -> Any:
        """Make a pandas table of names, quality and distances, a row per image.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        measured = [
            name
            for name in MEASURES
            if any(getattr(image, name) is not None for image in self.images)
        ]
        columns = (*_COLUMNS, *measured)
        return import_extra("pandas", "pandas", "to_pandas()").DataFrame(
            [{column: getattr(image, column) for column in columns} for image in self.images]
        )

    def _mean(self, name: str) -> float:
        return float(np.mean([getattr(image, name) for image in self.images]))

    def __str__(self) -> str:
        shown = self.images[:_SHOWN]
        names = [image.name or str(position) for position, image in enumerate(shown)]
        width = max(map(len, names), default=0)
        rows = [
            f"{name:<{width}}  PSNR {image.psnr:5.2f} dB  SSIM {image.ssim:.3f}  "
            f"L-inf {image.linf:3d}  distance to target {image.distance_before:.3f} -> "
            f"{image.distance_after:.3f}"
            for name, image in zip(names, shown, strict=True)
        ]
        if more := len(self) - len(shown):
            rows.append(f"… and {counted(more, 'image')} more")
        if not self.images:
            return "0 images"
        summary = (
            f"{counted(len(self), 'image')}: PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, "
            f"L-inf {self.linf:.1f}, distance to target {self.distance_before:.3f} -> "
            f"{self.distance_after:.3f}"
        )
        return "\n".join([*rows, summary])


def output_names(names: Sequence[Path], suffix: str) -> list[Path]:
    """Names of released files: ``a.png`` for ``a.jpg``.

    It is ``a.jpg.png`` where another image would become ``a.png``, too.

    Raises:
        InputError: If a name comes twice.
    """
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise InputError(
            f"names: expected each once, found {twice} twice; give activate other names"
        )
    chosen = [name.with_suffix(suffix) for name in names]
    while max((taken := Counter(chosen)).values(), default=0) > 1:
        # A long name can be another image's short one: ``a.jpg``, ``a.png`` and ``a.jpg.png``.
        chosen = [
            name.with_name(f"{name.name}{suffix}") if taken[now] > 1 else now
            for name, now in zip(names, chosen, strict=True)
        ]
    return chosen
