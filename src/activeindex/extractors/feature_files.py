"""Feature files: a matrix in ``.pt``, ``.pth`` or ``.npy``, and a note beside it."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import check_file, read_json, whole_file, write_json

SUFFIXES = (".pt", ".pth", ".npy")

ROWS_FILE = "fts.rows"
"""Raw float32 rows, while a run goes on."""
NAMES_FILE = "filenames.txt"
"""Names of the rows of the feature file beside it, one per line."""

_LARGEST = 1e15
"""Largest absolute value of a feature: FAISS sums squares in float32, and ends the process where
these overflow."""

_ROWS = 1 << 16
"""Rows that are checked at a time; bounds the memory."""


@dataclass(frozen=True)
class FeatureFile:
    """A checked feature file.

    Attributes:
        path: The file.
        values: ``(n, d)`` float32, mapped from the disk where the format allows it.
        extractor: The identity of the extractor as noted by ``extract_fts``, or None where the
            file has no note (made by another program).
        descriptor_views: Views that were averaged with each image
            (:func:`~activeindex.extractors.features.code_features`), or None likewise.
    """

    path: Path
    values: npt.NDArray[np.float32]
    extractor: ExtractorIdentity | None
    descriptor_views: int | None = None

    def hash(self) -> str:
        """Hash the values; the same for every file format."""
        return hash_of_rows(self.values)


def hash_of_rows(values: npt.NDArray[np.float32]) -> str:
    """Hash the shape and the values of features ``(n, d)``."""
    digest = hashlib.sha256(str(values.shape).encode())
    for start in range(0, len(values), _ROWS):
        digest.update(values[start : start + _ROWS].tobytes())
    return digest.hexdigest()


def check_values(values: npt.NDArray[np.float32], where: str) -> None:
    """Check that an index can compute with features ``(n, d)``.

    Args:
        values: The features.
        where: Beginning of the message: the file or the argument.

    Raises:
        InputError: Naming the first row with NaN, infinity, or a value whose square summed over
            many features is beyond float32.
    """
    for start in range(0, len(values), _ROWS):
        if bad := find_bad_row(values[start : start + _ROWS]):
            row, found = bad
            raise InputError(f"{where}: expected finite values, found {found} in row {start + row}")


def find_bad_row(values: npt.NDArray[np.float32]) -> tuple[int, str] | None:
    """Return the first row that no index can compute with, and what is wrong with it."""
    largest = np.maximum(values.max(axis=1, initial=0), -values.min(axis=1, initial=0))
    good = largest <= _LARGEST  # False for NaN.
    if good.all():
        return None
    row = int(np.argmin(good))
    if np.isfinite(largest[row]):
        return row, f"{largest[row]:g} (beyond {_LARGEST:g}, squares overflow)"
    return row, "NaN or infinity"


def note_path(path: Path) -> Path:
    """Return the path of the note beside a feature file."""
    return path.with_suffix(".json")


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of images, and the extractor that they come from.

    NumPy functions take it for the matrix ``values``.

    Attributes:
        values: ``(n, d)`` float32.
        names: Name of each image, None for what comes from no file; see
            :class:`~activeindex.images.coerce.NamedPicture`.
        extractor: Identity of the extractor; None if it is not known.
        descriptor_views: Views that were averaged with each image.
    """

    values: npt.NDArray[np.float32]
    names: tuple[str | None, ...] = ()
    extractor: ExtractorIdentity | None = None
    descriptor_views: int = 0

    def hash(self) -> str:
        """SHA-256 of the values, that of a feature file with the same ones."""
        return hash_of_rows(self.values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return self.values.shape[0], self.values.shape[1]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"ImageFeatures({len(self)} of dimension {self.shape[1]}, {self.extractor})"


FeaturesLike: TypeAlias = ImageFeatures | FeatureFile | npt.ArrayLike | str | os.PathLike[str]
"""Features of :func:`activeindex.extract`, a matrix ``(n, d)``, or a feature file or its folder."""


def read_features(
    path: str | os.PathLike[str],
    option: str = "features",
    dimension: int | None = None,
    *,
    edited: bool = False,
) -> FeatureFile:
    """Open a feature file and check every value.

    Args:
        path: A ``.pt`` or ``.pth`` file with one tensor, or a ``.npy`` file.
        option: Option that named the file, for messages.
        dimension: Expected number of columns; None for any.
        edited: Expect features of edited copies, from ``extract_fts --edit_seed``.

    Raises:
        InputError: If the file is missing, of another format, not a matrix of numbers, empty, of
            another dimension, holds NaN, infinity or values beyond 1e15, or notes features
            of edited copies where others are expected, or the other way round.

    Example:
        >>> import numpy as np
        >>> np.save("features.npy", np.eye(4, dtype=np.float32))
        >>> read_features("features.npy").values.shape
        (4, 4)
    """
    path = Path(path)
    expected, values = f"{option} {path}: expected", _read(path, option)
    shape = values.shape
    if values.ndim != 2 or values.dtype.kind != "f" or values.size == 0:
        raise InputError(
            f"{expected} a matrix (n, d) of floats, found {values.dtype} of shape {shape}"
        )
    if dimension not in (None, shape[1]):
        raise InputError(
            f"{expected} features of dimension {dimension}, found dimension {shape[1]}"
        )
    with np.errstate(over="ignore"):  # What float32 cannot hold is infinite, and refused below.
        values = values.astype(np.float32, copy=False)
    check_values(values, f"{option} {path}")
    note = note_path(path)
    noted = read_json(note, {"descriptor_views": int}) if note.is_file() else {}
    if noted.get("extractor") is not None and ("edit_seed" in noted) != edited:
        kinds = ("of images as they are", "of edited copies (extract_fts --edit_seed)")
        raise InputError(f"{expected} features {kinds[edited]}, found those {kinds[not edited]}")
    extractor = ExtractorIdentity.from_json(
        noted.get("extractor"), noted.get("extractor_sha256"), where=note
    )
    views = None if extractor is None else noted.get("descriptor_views", 0)
    return FeatureFile(path, values, extractor, views)


def read_copies(paths: Sequence[Path], features: FeatureFile) -> list[FeatureFile]:
    """Open files of features of edited copies; see :func:`read_features`.

    Args:
        paths: The files.
        features: Those of the images themselves.

    Raises:
        InputError: If a file is not one of such features, or both have names beside them, and these
            differ.
    """
    dimension = features.values.shape[1]
    copies = [read_features(path, "fts_edited_path", dimension, edited=True) for path in paths]
    names = features.path.with_name(NAMES_FILE)
    for path in paths:
        others = path.with_name(NAMES_FILE)
        if names.is_file() and others.is_file() and names.read_bytes() != others.read_bytes():
            raise InputError(
                f"fts_edited_path {path}: expected copies of the images of {features.path}, in "
                f"their order, found other names in {others}"
            )
    return copies


def map_features(path: Path, option: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Map the matrix of a file that :func:`read_features` has checked elsewhere.

    Args:
        path: The file.
        option: Option that named it, for messages.
        shape: Of its matrix, ``(n, d)``.

    Returns:
        ``(n, d)`` of any type of floats, mapped from the disk where the format allows it.

    Raises:
        InputError: If the file is missing here, or its matrix has another shape.
    """
    values = _read(path, option)
    if values.shape != shape:
        raise InputError(f"{option} {path}: expected shape {shape}, found {values.shape}")
    return values


def _read(path: Path, option: str) -> npt.NDArray[Any]:
    check_file(path, option)
    if path.suffix == ".npy":
        with library_errors(f"{option} {path}: expected a .npy matrix"):
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    import torch

    expected = f"{option} {path}: expected one tensor saved by torch.save"
    with library_errors(f"{expected} (other objects are not unpickled)"):
        try:
            tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # Files of PyTorch before 1.6 cannot be mapped.
            tensor = torch.load(path, map_location="cpu", weights_only=True)
        stored = path.stat().st_size
        if zipfile.is_zipfile(path):
            entries = zipfile.ZipFile(path).infolist()
            stored = max((it.file_size for it in entries if "/data/" in it.filename), default=0)
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"{expected}, found a {type(tensor).__name__}")
    kinds = {
        "quantised": tensor.is_quantized,
        "sparse or nested": tensor.layout != torch.strided or tensor.is_nested,
        "meta (without values)": tensor.is_meta,
    }
    if kind := next((kind for kind, found in kinds.items() if found), None):
        raise InputError(f"{expected}, found a {kind} one")
    # An expanded tensor of some bytes claims any number of rows; the mapped storage of a damaged
    # file reaches into what lies behind it.
    if tensor.numel() * tensor.itemsize > stored:
        raise InputError(
            f"{expected}, found {stored:,} bytes for one of shape {tuple(tensor.shape)}; save an "
            "expanded tensor as tensor.contiguous()"
        )
    with library_errors(expected):
        values = tensor.detach().resolve_neg()
        # NumPy has no type for bfloat16 and the 8-bit floats.
        return (values.float() if values.is_floating_point() else values).numpy()


def write_features(path: Path, rows: Path, shape: tuple[int, int]) -> None:
    """Turn a file of raw float32 rows into a feature file, in little memory.

    Args:
        path: The ``.pt``, ``.pth`` or ``.npy`` file to write, whole or not at all.
        rows: ``shape[0] * shape[1]`` float32 values, row by row.
        shape: ``(n, d)``.
    """
    with whole_file(path) as beside:
        if path.suffix == ".npy":
            values = np.memmap(rows, dtype=np.float32, mode="r", shape=shape)
            with beside.open("wb") as file:
                np.save(file, values, allow_pickle=False)
        else:
            import torch

            tensor = torch.from_file(str(rows), size=shape[0] * shape[1], dtype=torch.float32)
            # Given a path, torch.save writes its name, here one that no two runs share, into the
            # file; the same features are to give the same bytes.
            with beside.open("wb") as file:
                torch.save(tensor.view(shape), file)


def write_note(
    path: Path, extractor: ExtractorIdentity, shape: tuple[int, int], descriptor_views: int
) -> None:
    """Write the note beside the feature file of an activation.

    Args:
        path: The feature file.
        extractor: Extractor of the features.
        shape: Of the features, ``(n, d)``.
        descriptor_views: Views that were averaged with each image.
    """
    note = {"extractor": extractor.as_json(), "descriptor_views": descriptor_views}
    sizes = {"count": shape[0], "dimension": shape[1]}
    write_json(note_path(path), {**note, **sizes, "activation": True})


def is_of_activation(path: Path) -> bool:
    """Return True if the note beside a feature file is from :func:`write_note`."""
    note = note_path(path)
    return note.is_file() and bool(read_json(note).get("activation"))


def as_features(features: FeaturesLike, option: str) -> FeatureFile | ImageFeatures:
    """Return features of any kind, with their extractor where it is known.

    Args:
        features: Those of :func:`activeindex.extract`, a matrix ``(n, d)`` of finite numbers, a
            feature file, or the folder that ``activeindex extract_fts`` wrote it in.
        option: Name of the argument, for the messages.

    Raises:
        InputError: If they are something else, or not finite.
        ShapeError: If they are not a matrix.
    """
    if isinstance(features, FeatureFile | ImageFeatures):
        return features
    if isinstance(features, str | os.PathLike):
        path = Path(features)
        if path.is_dir():
            files = [path / f"fts{suffix}" for suffix in SUFFIXES]
            path = next((file for file in files if file.is_file()), files[0])
        return read_features(path, option)
    with library_errors(f"{option}: expected a matrix (n, d) of numbers"):
        matrix = features.detach() if hasattr(features, "detach") else features
        with np.errstate(over="ignore"):  # What float32 cannot hold is infinite, and refused below.
            values = np.ascontiguousarray(matrix, dtype=np.float32)
    if np.ndim(matrix) != 2:
        raise ShapeError(option, ("n", "d"), np.shape(matrix))
    check_values(values, option)
    return ImageFeatures(values)
