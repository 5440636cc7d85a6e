"""Pictures: pixels with the opacity and metadata that a released file keeps."""

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms

from activeindex.images.decoding import DecodedImage, opened, pillow_errors
from activeindex.images.levels import Pixels
from activeindex.images.profiles import converted, to_srgb
from activeindex.images.tones import on_white

Alpha = npt.NDArray[np.uint8]
"""Opacity ``(H, W)``: 0 is transparent, 255 opaque."""

EXIF_PREFIX = b"Exif\0\0"
"""Prefix of the block in a JPEG file."""

# Bytes of an entry: tag, type, count, value (EXIF 2.3, 4.6.2).
_ENTRY = 12
_SHORT = 3
_ORIENTATION = int(ExifTags.Base.Orientation)

# TIFF tags that describe the picture rather than the layout of its pixels.
_DESCRIPTIVE = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model),
    *(ExifTags.Base.Software, ExifTags.Base.DateTime, ExifTags.Base.Artist),
    *(ExifTags.Base.Copyright, ExifTags.Base.XResolution, ExifTags.Base.YResolution),
    ExifTags.Base.ResolutionUnit,
)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file's contents, upright and with 8 bits per channel.

    Attributes:
        layer: Colours ``(H, W, 3)`` in the space of the profile, those of transparent pixels
            included.
        alpha: Opacity ``(H, W)``; None where everything is opaque.
        grey: Whether the picture has no colours, and may get none.
        one_channel: Whether its file stores one channel; then it is grey.
        exif: EXIF block for the upright pixels, without prefix; empty if there is none.
        icc: ICC profile of the colours; empty for sRGB.
    """

    layer: Pixels
    alpha: Alpha | None = None
    grey: bool = False
    one_channel: bool = False
    exif: bytes = b""
    icc: bytes = b""

    @cached_property
    def pixels(self) -> Pixels:
        """Visible pixels ``(H, W, 3)``: in sRGB, transparency composed on white."""
        return self.seen(self.layer)

    @property
    def area(self) -> int:
        """Number of pixels."""
        height, width = self.layer.shape[:2]
        return int(height * width)

    @property
    def _to_srgb(self) -> ImageCms.ImageCmsTransform | None:
        return to_srgb(self.icc, "L" if self.one_channel else "RGB") if self.icc else None

    @property
    def is_srgb(self) -> bool:
        """True if the profile shows the colours as sRGB does."""
        return self._to_srgb is None

    def in_srgb(self) -> "Picture":
        """The same picture with its colours converted to sRGB, without a profile."""
        return replace(self, layer=self._in_srgb(self.layer), icc=b"")

    def _in_srgb(self, layer: Pixels) -> Pixels:
        if self._to_srgb is None:
            return layer
        image = Image.fromarray(layer[..., 0] if self.one_channel else layer)
        return np.asarray(converted(image, self._to_srgb))

    def seen(self, layer: Pixels) -> Pixels:
        """Convert colours ``(H, W, 3)`` to sRGB, and compose them on white by the opacity."""
        shown = self._in_srgb(layer)
        if self.alpha is None:
            return shown
        return np.asarray(on_white(Image.fromarray(np.dstack([shown, self.alpha]))))

    @property
    def has_transparency(self) -> bool:
        """True if any pixel is not fully opaque."""
        return self.alpha is not None and bool(self.alpha.min() < 255)

    def without_alpha(self) -> "Picture":
        """The same picture composed on white."""
        icc = self.icc if self.is_srgb else b""
        return replace(self, layer=self.pixels, alpha=None, icc=icc)


def read_picture(path: Path, most: int | None = None) -> Picture:
    """Read an image file with its opacity, EXIF and ICC profile.

    Colours of CMYK and Lab become sRGB. A profile for another colour space than the pixels have
    here is left out.

    Args:
        path: The file.
        most: The most pixels that it may have; those of
            :func:`~activeindex.images.limits.max_pixels` by default.

    Raises:
        UnreadableImageError: If the file cannot be decoded; see
            :func:`~activeindex.images.decoding.opened`.
    """
    with opened(path, most=most) as decoded:
        return picture_of(decoded, path)


def picture_of(decoded: DecodedImage, name: object) -> Picture:
    """The picture of a decoded image; see :func:`read_picture`."""
    with pillow_errors(name):
        exif = _upright_exif(decoded.source)
    image, one_channel = decoded.image, decoded.image.mode in ("L", "LA")
    alpha: Alpha | None = None
    if image.mode in ("LA", "RGBA"):
        with_alpha = np.asarray(image.convert("RGBA"))
        layer, alpha = np.ascontiguousarray(with_alpha[..., :3]), with_alpha[..., 3].copy()
    else:
        layer = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    red, green, blue = (layer[..., channel] for channel in range(3))
    grey = np.array_equal(red, green) and np.array_equal(green, blue)
    return Picture(layer, alpha, grey, one_channel, exif, decoded.icc)


def _upright_exif(image: Image.Image) -> bytes:
    """Return the EXIF block of a decoded file for the same picture stored upright.

    Byte for byte the file's, but for an orientation of 1. From a TIFF file, where EXIF and the
    layout of the pixels share one table, what describes the picture is taken.

    Args:
        image: As Pillow opened it, loaded.

    Returns:
        The block without prefix; empty if there is none, or if it is too broken to be changed.
    """
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return _turned(block.removeprefix(EXIF_PREFIX))
    return _of_tiff(image) if image.format == "TIFF" else b""


def _turned(block: bytes) -> bytes:
    """Set the orientation of a block, if it has one, to 1."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return b""
    try:
        (table,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, table)
        changed = bytearray(block)
        for at in range(table + 2, table + 2 + count * _ENTRY, _ENTRY):
            (tag,) = struct.unpack_from(f"{order}H", block, at)
            if tag == _ORIENTATION:
                struct.pack_into(f"{order}HIHH", changed, at + 2, _SHORT, 1, 1, 0)
    except struct.error:
        return b""
    return bytes(changed)


def _of_tiff(image: Image.Image) -> bytes:
    found, kept = image.getexif(), Image.Exif()
    try:
        for tag in _DESCRIPTIVE:
            if tag in found:
                kept[tag] = found[tag]
        for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if table := found.get_ifd(part):
                kept.get_ifd(part).update(table)
        return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else b""
    except Exception:  # Pillow meets broken entries with errors of a dozen types.
        return b""
