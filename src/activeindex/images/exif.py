"""EXIF blocks for upright pixels."""

import struct

from PIL import ExifTags, Image

EXIF_PREFIX = b"Exif\0\0"
"""Prefix of the block in a JPEG file."""
_ENTRY = 12
"""Bytes of an entry: tag, type, count, value (EXIF 2.3, 4.6.2)."""
_SHORT = 3
_ORIENTATION = int(ExifTags.Base.Orientation)

_DESCRIPTIVE = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model),
    *(ExifTags.Base.Software, ExifTags.Base.DateTime, ExifTags.Base.Artist),
    *(ExifTags.Base.Copyright, ExifTags.Base.XResolution, ExifTags.Base.YResolution),
    ExifTags.Base.ResolutionUnit,
)
"""TIFF tags that describe the picture rather than the layout of its pixels."""


def upright_exif(image: Image.Image) -> bytes:
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
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error, OSError):
        return b""
