"""Encoding of pictures as PNG, JPEG and WebP files."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from activeindex.errors import UnencodableError
from activeindex.images.decoding import decode_image, pillow_image, shown_rgb
from activeindex.images.formats import FileFormat
from activeindex.images.levels import Pixels
from activeindex.images.picture import EXIF_PREFIX, Picture
from activeindex.runtime.files import whole_file

_LONGEST_SIDE = {"png": 2**31 - 1, "jpeg": 65535, "webp": 16383}
_LONGEST_JPEG_EXIF = 65533 - len(EXIF_PREFIX)

# Run lengths on filtered rows: half the time of level 1, and fewer bytes for photographs.
_PNG: dict[str, Any] = {"format": "PNG", "compress_type": 3}


def encode(picture: Picture, layer: Pixels, form: FileFormat) -> bytes:
    """Encode new colours with a picture's opacity, EXIF and ICC profile.

    JPEG is written without chroma subsampling (4:4:4); WebP, which always halves chroma, keeps the
    colours of transparent pixels as far as its quality allows, and opacity exactly.

    Args:
        picture: Gives opacity and metadata.
        layer: The colours ``(H, W, 3)``; their first channel alone where the picture has one.
        form: The file format.

    Raises:
        UnencodableError: If the format cannot hold the picture: transparency in JPEG, too long a
            side, too much EXIF.
    """
    if picture.alpha is not None and not form.has_alpha:
        raise UnencodableError(f"{form.name}: expected an opaque picture, found transparency")
    check_encodable(picture, form)
    channels = layer[..., :1] if picture.one_channel else layer
    if picture.alpha is not None:
        channels = np.dstack([channels, picture.alpha])
    image = Image.fromarray(channels.squeeze(2) if channels.shape[2] == 1 else channels)
    icc = b"" if picture.one_channel and not form.has_grey else picture.icc
    exif = EXIF_PREFIX + picture.exif if picture.exif else b""
    options: dict[str, Any] = {"exif": exif, "icc_profile": icc or None}
    match form.name:
        case "png":
            options |= _PNG
        case "jpeg":
            options |= {"format": "JPEG", "quality": form.quality, "subsampling": 0}
        case "webp":
            options |= {"format": "WEBP", "quality": form.quality, "exact": True}
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def check_encodable(picture: Picture, form: FileFormat) -> None:
    """Check that a file format can hold a picture, transparency aside.

    Raises:
        UnencodableError: If a side is too long, or the EXIF block.
    """
    name, exif = form.name, len(picture.exif)
    side, longest = max(picture.layer.shape[:2]), _LONGEST_SIDE[name]
    if side > longest:
        text = f"expected at most {longest} pixels on a side, found {side}"
        raise UnencodableError(f"{name}: {text}")
    if name == "jpeg" and exif > _LONGEST_JPEG_EXIF:
        text = f"expected at most {_LONGEST_JPEG_EXIF} bytes of EXIF, found {exif}"
        raise UnencodableError(f"{name}: {text}")


def decode(data: bytes) -> Pixels:
    """Decode an encoded file to its visible pixels ``(H, W, 3)``."""
    name = "encoded file"
    with pillow_image(io.BytesIO(data), name) as image:
        return np.asarray(shown_rgb(decode_image(image, name, most=sys.maxsize)))


def write_bytes(path: Path, data: bytes) -> None:
    """Write an encoded file atomically."""
    with whole_file(path) as beside:
        beside.write_bytes(data)


def write_png(path: Path, pixels: Pixels) -> None:
    """Write 8-bit RGB pixels ``(H, W, 3)`` as PNG atomically."""
    with whole_file(path) as beside:
        Image.fromarray(pixels).save(beside, **_PNG)
