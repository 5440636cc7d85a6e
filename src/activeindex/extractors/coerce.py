"""Conversion of names and files to extractors, and of images to features."""

import os
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.extractors.features import check_finite, code_features
from activeindex.extractors.named import load_extractor
from activeindex.images.coerce import Images, iterate_pictures
from activeindex.images.levels import to_square

ExtractorLike: TypeAlias = Extractor | str | os.PathLike[str] | None
"""An extractor, its name or file, or None for the default one."""

_BATCH = 64
"""Images whose squares are in memory together."""


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
