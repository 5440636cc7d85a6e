"""Conversion of files, folders, Pillow images, arrays and tensors to pictures.

Every function of the public API that takes images takes them through :func:`iterate_pictures`, so
all of them accept the same things and refuse the others with the same words.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from activeindex.errors import InputError, ShapeError
from activeindex.images.decoding import decode_image
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels, to_levels
from activeindex.images.limits import check_size
from activeindex.images.picture import Picture, picture_of, read_picture


class SupportsArray(Protocol):
    """Anything that NumPy takes for an array, as an activated image."""

    def __array__(self) -> npt.NDArray[Any]: ...


ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | SupportsArray | torch.Tensor
"""Anything that stands for an image: the path of a file (or of a folder of images), a Pillow image,
an array ``(H, W, 3)``, or a tensor ``(3, H, W)``; see :func:`iterate_pictures`."""

Images: TypeAlias = "ImageLike | Picture | Iterable[ImageLike | Picture]"
"""One image, or any number of them in any mix."""

_KINDS = "a path, a Pillow image, an array (H, W, 3) or a tensor (3, H, W)"

_ROUNDING = 1e-5
"""Distance outside [0, 1] that rounding in float32 explains; a level is 400 times as much."""


@dataclass(frozen=True, eq=False)
class NamedPicture:
    """A picture, and the file that it comes from.

    Attributes:
        picture: The picture.
        name: The file's path relative to the folder that was given, the file's name where the file
            itself was, ``/`` between parts; None for what comes from no file.
        path: The file; None for what comes from no file.
    """

    picture: Picture
    name: str | None = None
    path: Path | None = None


def as_pictures(images: Images) -> list[NamedPicture]:
    """Read images of any kind, all into memory; see :func:`iterate_pictures`.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> grey = Image.new("L", (64, 48))
        >>> array = np.zeros((20, 30, 3), np.uint8)
        >>> [one.picture.layer.shape for one in as_pictures([grey, array])]
        [(48, 64, 3), (20, 30, 3)]
    """
    return list(iterate_pictures(images))


def iterate_pictures(images: Images) -> Iterator[NamedPicture]:
    """Read images of any kind one at a time; a file is decoded when its turn comes.

    Args:
        images: One image, or an iterable of images in any mix. An image is

            - the path of a file, whose transparency, greyness, EXIF and profile are kept, or of a
              folder, which stands for all images in it and its subfolders, sorted by path;
            - a Pillow image of any mode, read like a file;
            - a NumPy array ``(H, W, 3)``, ``(H, W)`` for grey or ``(H, W, 4)`` with opacity, of
              uint8 or of floats in [0, 1];
            - a tensor ``(3, H, W)``, ``(1, H, W)`` or ``(4, H, W)`` likewise;
            - anything that NumPy takes for such an array, as an activated image;
            - a :class:`~activeindex.images.picture.Picture`.

            Arrays ``(B, H, W, 3)`` and tensors ``(B, 3, H, W)`` are ``B`` images.

    Raises:
        InputError: If there is no image, a value is NaN or outside [0, 1], or something else is
            given than an image.
        ShapeError: If an array or a tensor has another shape.
        UnreadableImageError: If a file cannot be decoded. Images are named by their file, or by
            their position: ``image 0`` is the first.
    """
    position = -1
    for position, image in enumerate(_flat(images)):
        if isinstance(image, str | os.PathLike):
            path = Path(image)
            files = list_images(path, "images") if path.is_dir() else [path]
            for file in files:
                name = file.relative_to(path).as_posix() if path.is_dir() else file.name
                yield NamedPicture(read_picture(file), name, file)
        else:
            yield NamedPicture(_as_picture(image, f"image {position}"))
    if position < 0:
        raise InputError("images: expected one or more, found none")


def _flat(images: Images) -> Iterator[ImageLike | Picture]:
    """Yield the images one by one; an array of four dimensions is several."""
    if isinstance(images, str | os.PathLike | Image.Image | Picture):
        yield images
    elif isinstance(images, np.ndarray | torch.Tensor):
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable) and not isinstance(images, bytes | dict):
        for image in images:
            if isinstance(image, np.ndarray | torch.Tensor) and image.ndim == 4:
                yield from image
            else:
                yield image
    else:
        raise InputError(f"images: expected {_KINDS}, or several, found {_described(images)}")


def _as_picture(image: object, name: str) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return picture_of(decode_image(image, name, kind=InputError), name)
    if isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
            raise ShapeError(f"{name}, a tensor", (3, "H", "W"), image.shape)
        last = image.detach().movedim(0, 2).cpu()
        array = (last.float() if last.is_floating_point() else last).numpy()
    elif hasattr(image, "__array__"):
        array = np.asarray(image)
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
            raise ShapeError(f"{name}, an array", ("H", "W", 3), array.shape)
        array = array[..., None] if array.ndim == 2 else array
    else:
        raise InputError(f"{name}: expected {_KINDS}, found {_described(image)}")
    height, width, channels = array.shape
    check_size(name, width, height, InputError)
    if array.dtype.kind == "f":
        array = _levels(array, name)
    elif array.dtype != np.uint8:
        found = image.dtype if isinstance(image, torch.Tensor) else array.dtype
        raise InputError(f"{name}: expected uint8 or floats in [0, 1], found {found}")
    pixels: Pixels = np.array(array, order="C")
    if channels == 1:
        return Picture(np.repeat(pixels, 3, axis=2), grey=True, one_channel=True)
    return picture_of(decode_image(Image.fromarray(pixels), name), name)


def _levels(array: npt.NDArray[np.floating], name: str) -> Pixels:
    """Check floats in [0, 1], and round them to 8 bits."""
    values = torch.from_numpy(np.array(array, np.float32, order="C"))
    smallest, largest = (float(bound) for bound in torch.aminmax(values))
    if not smallest >= -_ROUNDING or not largest <= 1 + _ROUNDING:
        # Both are NaN where one value is.
        found = f"{smallest:.6g} to {largest:.6g}" if smallest <= largest else "NaN"
        hint = "; divide by 255, or give uint8" if 0 <= smallest < 2 < largest <= 255 else ""
        raise InputError(f"{name}: expected values in [0, 1], found {found}{hint}")
    levels: Pixels = to_levels(values).numpy()
    return levels


def _described(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
