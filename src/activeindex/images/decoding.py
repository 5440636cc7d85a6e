"""Image files to 8-bit pixels with the tones and colours that a viewer shows.

Pillow decodes. This module is the one way to it: it refuses what is no regular file or has too many
pixels, and turns whatever Pillow raises into one line that names the image. Tones are settled in
:mod:`~activeindex.images.tones`, colour spaces in :mod:`~activeindex.images.profiles`.
"""

import contextlib
import ctypes
import errno
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (
    AvifImagePlugin,
    ExifTags,
    Image,
    Jpeg2KImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    _imaging,
)

from activeindex.errors import InputError, UnreadableImageError, library_errors
from activeindex.images.levels import Pixels
from activeindex.images.limits import check_size
from activeindex.images.profiles import converted, file_icc, file_profile, to_srgb
from activeindex.images.tones import eight_bits, on_white, read_header

# Imported by name, since Pillow would import the readers of forty formats for them.
_PLUGINS = (
    *(AvifImagePlugin.AvifImageFile, Jpeg2KImagePlugin.Jpeg2KImageFile),
    *(TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile),
)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", *(plugin.format for plugin in _PLUGINS))
"""Pillow's names of the formats that are read, whatever the suffix of the file. Its others call
programs (EPS) or read files of other kinds than pictures."""

# Beginnings of files of these formats.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II", b"MM", b"RIFF")

# The transposition that undoes each EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_PICTURES = tuple(f"({kind})" for kind in (*_KINDS.values(), os.strerror(errno.ELOOP)))
"""Ends of the messages about what is no file, and so no damaged picture."""

# Pillow and libtiff print and warn of broken files; what matters of it becomes an error here. The
# filter is the last in the list, so that those of the user go first.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(AttributeError, OSError):  # Where libtiff is a part of Pillow.
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image with the tones that a viewer shows.

    Attributes:
        image: Upright, 8-bit, of mode L, LA, RGB or RGBA, in the colour space of its profile.
        icc: ICC profile; empty for sRGB.
        source: As Pillow opened and loaded it.
    """

    image: Image.Image
    icc: bytes
    source: Image.Image


def pillow_errors(name: object) -> contextlib.AbstractContextManager[None]:
    """Turn whatever Pillow raises about an image into one line that names it.

    Raises:
        UnreadableImageError: If it raises anything.
    """
    return library_errors(f"{name}: the image cannot be decoded", UnreadableImageError)


@contextlib.contextmanager
def opened(
    path: Path, enough: int | None = None, most: int | None = None
) -> Iterator[DecodedImage]:
    """Open and decode an image file.

    Args:
        path: The file.
        enough: See :func:`read_rgb`.
        most: The most pixels; see :func:`~activeindex.images.limits.check_size`.

    Raises:
        UnreadableImageError: If the file is missing, not an image of the ``FORMATS``, damaged, or
            too small or large; or if its tones or colours are not known.
    """
    with _opened_file(path) as file, pillow_image(file, path) as image:
        yield decode_image(image, path, enough=enough, most=most)


def _opened_file(path: Path) -> IO[bytes]:
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFREG:  # Opening a named pipe would wait for ever.
            # Given a name, Pillow would map the file into memory, and die if it gets shorter.
            return path.open("rb")
        reason = _KINDS.get(kind, "no regular file")
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: expected an image, found nothing") from None
    except (OSError, ValueError) as error:  # A link to itself; a name with a null character.
        reason = getattr(error, "strerror", None) or str(error)
    raise UnreadableImageError(f"{path}: the image cannot be decoded ({reason})")


def pillow_image(file: IO[bytes], name: object) -> Image.Image:
    """Open a file of the ``FORMATS`` with Pillow, without decoding its pixels.

    Raises:
        UnreadableImageError: If it is of another format, or damaged.
    """
    with pillow_errors(name):
        try:
            return Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            file.seek(0)
            start = file.read(12)
    if start.startswith(_MAGIC):
        text = "the image cannot be decoded (damaged, or of a kind that Pillow does not read)"
        raise UnreadableImageError(f"{name}: {text}")
    raise UnreadableImageError(f"{name}: expected an image, found another format")


def decode_image(
    image: Image.Image,
    name: object,
    *,
    enough: int | None = None,
    most: int | None = None,
    kind: type[InputError] = UnreadableImageError,
) -> DecodedImage:
    """Decode what Pillow has opened; see :func:`opened`.

    Args:
        image: The image; its pixels need not be loaded.
        name: Names the image in messages.
        enough: See :func:`read_rgb`.
        most: The most pixels.
        kind: The error to raise if there are too many or too few.
    """
    check_size(name, image.width, image.height, kind, most)
    with pillow_errors(name):
        header = read_header(image)
        if enough is not None:
            image.draft(None, (enough, enough))
        image.load()  # PNG may keep EXIF behind the pixels.
        if isinstance(image.info.get("transparency"), str):  # A text of that name in a PNG file.
            del image.info["transparency"]
        turn = _turn(image)
        if image.mode in ("CMYK", "LAB"):
            profile = b"" if image.mode == "LAB" else file_icc(image, header)
            tones, icc = converted(image, to_srgb(profile, image.mode)), b""
        else:
            tones = eight_bits(image, header, name)
            icc = file_profile(image, header, tones.mode in ("L", "LA"), name)
            if tones.mode in ("L", "LA") and not icc and header.cicp is None:
                tones = _greys(tones, file_icc(image, header))
    return DecodedImage(tones if turn is None else tones.transpose(turn), icc, image)


def _greys(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert greys whose profile is one of RGB, which browsers apply, to sRGB."""
    transform = to_srgb(icc, "RGB")
    if transform is None:
        return image
    shown = converted(image.convert("RGB"), transform).convert("L")
    if image.mode == "LA":
        shown.putalpha(image.getchannel("A"))
    return shown


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Viewers pass over a block that is no EXIF.
        return None


def shown_rgb(decoded: DecodedImage) -> Image.Image:
    """The RGB image that a viewer shows: colours in sRGB, transparency composed on white."""
    image, bands = decoded.image, decoded.image.getbands()
    transform = to_srgb(decoded.icc, "L" if bands[0] == "L" else "RGB") if decoded.icc else None
    if transform is not None:
        colours = converted(image.convert("L" if bands[0] == "L" else "RGB"), transform)
        if bands[-1] != "A":
            return colours
        colours.putalpha(image.getchannel("A"))
        return on_white(colours)
    if bands[-1] == "A":
        return on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def read_rgb(path: Path, enough: int | None = None, most: int | None = None) -> Image.Image:
    """Decode an image file to upright 8-bit RGB, as a viewer shows it.

    Grey becomes three equal channels, transparent pixels are composed on white, 16-bit values are
    scaled to 8, colours of other profiles are converted to sRGB, animations give their first frame
    (docs/pictures.md).

    Args:
        path: The file.
        enough: If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (from fewer of the
            frequencies of its blocks) as long as both sides keep this many pixels. Much faster for
            large photographs; the pixels are nearly those of the whole image reduced.
        most: The most pixels that the image may have; those of
            :func:`~activeindex.images.limits.max_pixels` by default.

    Raises:
        UnreadableImageError: See :func:`opened`.
    """
    with opened(path, enough, most) as decoded:
        return shown_rgb(decoded)


def read_pixels(path: Path) -> Pixels:
    """The pixels ``(H, W, 3)`` of an image file; see :func:`read_rgb`."""
    return np.asarray(read_rgb(path))
