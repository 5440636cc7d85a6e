"""Conversion of names, files and images to extractors and features."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import (
    SUFFIXES,
    FeatureFile,
    check_values,
    hash_of_rows,
    read_features,
)
from activeindex.extractors.features import check_finite, code_features
from activeindex.extractors.named import load_extractor
from activeindex.identity import ExtractorIdentity
from activeindex.images.coerce import Images, iterate_pictures
from activeindex.images.levels import to_square

ExtractorLike: TypeAlias = Extractor | str | os.PathLike[str] | None
"""An extractor, its name or file, or None for the default one."""

_BATCH = 64
"""Images whose squares are in memory together."""


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


def resolve_extractor(extractor: ExtractorLike = None) -> Extractor:
    """Return the extractor that a name, a file or None stands for.

    Args:
        extractor: An extractor; a name or file for
            :func:`~activeindex.extractors.named.load_extractor`; None for the default one.

    Raises:
        InputError: If it is a network, whose input size and normalisation are not known, or
            something else, or passes no gradient.
    """
    if isinstance(extractor, Extractor):
        if not extractor.verified:  # Of a class of the user's.
            extractor.check_gradient()
        return extractor
    if extractor is None:
        return load_extractor()
    if isinstance(extractor, str | os.PathLike):
        return load_extractor(os.fspath(extractor))
    raise _refusal(extractor)


def _refusal(extractor: object) -> InputError:
    hint = "; make one with as_extractor(network, input_size)" if callable(extractor) else ""
    return InputError(
        f"extractor: expected a name, a file or an extractor, found a {type(extractor).__name__}"
        f"{hint}"
    )


def extract(
    images: Images, extractor: ExtractorLike = None, *, descriptor_views: int = 0
) -> ImageFeatures:
    """Extract features of images of any kind, as ``activeindex extract_fts`` does of files.

    Args:
        images: Paths, folders, Pillow images, arrays or tensors, one or any number of them; see
            :func:`~activeindex.images.coerce.iterate_pictures`. They are read one at a time.
        extractor: An extractor, its name or file; by default the one that this package ships.
        descriptor_views: Edited views that are averaged with each image, for an index of pictures
            that are activated with as many;
            see :func:`~activeindex.extractors.features.code_features`.

    Returns:
        The features, a row per image in the order of the images.

    Raises:
        InputError: If there are no images, or one of them, or the extractor, is something else.
        UnreadableImageError: If a file cannot be decoded.

    Example:
        >>> import numpy as np
        >>> features = extract([np.zeros((64, 48, 3)), np.ones((100, 100, 3))])
        >>> features
        ImageFeatures(2 of dimension 256, lite0_copy (...) at 224 px)
    """
    loaded = resolve_extractor(extractor)
    pictures = iterate_pictures(images)
    names: list[str | None] = []
    parts: list[npt.NDArray[np.float32]] = []
    while batch := [
        # The picture itself may be large, and is let go of at once.
        (one.name, to_square(Image.fromarray(one.picture.pixels), loaded.input_size))
        for one in islice(pictures, _BATCH)
    ]:
        names += [name for name, _ in batch]
        squares = torch.stack([square for _, square in batch])
        features = code_features(loaded, squares, descriptor_views)
        first = len(names) - len(batch)
        shown = [name or f"image {first + row}" for row, name in enumerate(names[first:])]
        check_finite(features, shown, loaded)
        parts.append(features)
    return ImageFeatures(np.concatenate(parts), tuple(names), loaded.identity, descriptor_views)


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
        matrix = features.detach() if isinstance(features, torch.Tensor) else features
        with np.errstate(over="ignore"):  # What float32 cannot hold is infinite, and refused below.
            values = np.ascontiguousarray(matrix, dtype=np.float32)
    if np.ndim(matrix) != 2:
        raise ShapeError(option, ("n", "d"), np.shape(matrix))
    check_values(values, option)
    return ImageFeatures(values)
