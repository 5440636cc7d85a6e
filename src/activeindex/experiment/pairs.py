"""Pairs of originals and released pictures, of folders or of images in memory."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from activeindex.errors import InputError
from activeindex.extractors.features import Source
from activeindex.images.coerce import Images, iterate_pictures
from activeindex.images.folder import list_images
from activeindex.runtime.files import check_file
from activeindex.runtime.reporting import counted

_Named = list[tuple[str, Source]]


@dataclass(frozen=True, eq=False)
class Pair:
    """An original and its released picture.

    Attributes:
        number: Place among the pairs, which seeds random edits.
        name: The original's name relative to its folder, or ``image 0`` and so on.
        original: The original.
        released: The released picture.
    """

    number: int
    name: str
    original: Source
    released: Source


def pair_pictures(originals: Images, released: Images) -> list[Pair]:
    """Pair pictures: those of two folders by name, others by their order.

    Names are compared relative to the folders, first as they are, then without suffix. Where none
    agree and the counts are equal, the pictures are paired in sorted order. Files are not decoded.

    Args:
        originals: A folder, or images of any kind; see
            :func:`~activeindex.images.coerce.iterate_pictures`.
        released: The released pictures likewise.

    Raises:
        InputError: If a picture has no partner, naming the first one.
    """
    first, second = _sources(originals, "originals"), _sources(released, "released")
    if folder_of(originals) and folder_of(released):
        second = _by_name(first, second, f"released {released}")
    elif len(first) != len(second):
        raise InputError(
            f"released: expected {counted(len(first), 'picture')}, one for each original, "
            f"found {len(second)}"
        )
    return [
        Pair(number, name or f"image {number}", original, changed)
        for number, ((name, original), (_, changed)) in enumerate(zip(first, second, strict=True))
    ]


def folder_of(images: Images) -> str | None:
    """The path of a folder of images; None for images of another kind."""
    if isinstance(images, str | os.PathLike) and not Path(images).is_file():
        return os.fspath(images)
    return None


def _sources(images: Images, option: str) -> _Named:
    if folder := folder_of(images):
        paths = list_images(Path(folder), option)
        return [(path.relative_to(folder).as_posix(), path) for path in paths]
    given = images if isinstance(images, list | tuple) else [images]
    paths = [Path(image) for image in given if isinstance(image, str | os.PathLike)]
    if given and len(paths) == len(given):
        return [(path.name, check_file(path, option)) for path in paths]
    return [(one.name or "", one.picture.pixels) for one in iterate_pictures(images)]


def _by_name(first: _Named, second: _Named, where: str) -> _Named:
    """The released pictures in the order of their originals."""
    for key in (str, _stem):
        ours, theirs = [key(name) for name, _ in first], {key(one[0]): one for one in second}
        if {*ours} == {*theirs} and len(theirs) == len(first) == len(second):
            return [theirs[name] for name in ours]
    if len(first) == len(second) and not {*ours} & {*theirs}:
        return second
    for (name, _), stem in zip(first, ours, strict=True):
        if stem not in theirs:
            raise InputError(f"{where}: expected one for each original, found none for {name}")
    lone = [name for name, _ in second if _stem(name) not in ours]
    found = f"{lone[0]} without one" if lone else "several that differ in their suffixes alone"
    raise InputError(f"{where}: expected an original for each, found {found}")


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
