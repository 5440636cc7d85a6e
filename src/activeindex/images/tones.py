"""Tones: loaded Pillow images of any mode to 8 bits per channel, as a viewer shows them.

Pillow leaves open which value of a grey sample is white, whether white is the smallest value, and
which pixels of a PNG have its transparent colour. Where a file leaves it open, too, it is refused.
"""

import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    COMPRESSION,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    PREDICTOR,
    SAMPLEFORMAT,
    YCBCRSUBSAMPLING,
)

from activeindex.errors import UnreadableImageError
from activeindex.images.levels import Pixels

_WHITE = (255, 255, 255, 255)
_MOST_16 = 65535

_GREY = frozenset({"1", "L", "LA", "La"})

# Floats are taken in [0, 1]; what resampling carries past its ends is cut.
_FLOATS = (-1.0, 2.0)

# Values of TIFF's tags.
_SIGNED, _WHITE_IS_ZERO, _RGB, _RAW, _PACKBITS, _SEPARATE = 2, 0, 2, 1, 32773, 2
# Tags of TIFF that Pillow has no names of.
_TRANSFER_FUNCTION, _REFERENCE = 301, 532
_NEAR = 0.02
"""Largest difference in light from a transfer function that is taken for that of sRGB."""

# Bytes of a file that hold the description of its colours (JPEG 2000, AVIF).
_HEAD = 1 << 16

# Layout of the transparent colour by the colour type of PNG: grey, RGB.
_KEY = {0: ">H", 2: ">3H"}

# Start of a JPEG 2000 codestream, and where it says how many components there are.
_CODESTREAM, _COMPONENTS = b"\xff\x4f\xff\x51", 40

# Sizes of the headers of BMP that have a colour space, and a profile.
_BMP_4, _BMP_5 = 108, 124

# Enumerated colour spaces of JPEG 2000 that Pillow decodes (ISO 15444-1, I.5.3.3; -2, M.11.7.3).
_JP2_SPACES = frozenset({0, 12, 15, 16, 17, 18})


@dataclass(frozen=True, eq=False)
class Header:
    """Facts of a file's header that Pillow does not tell.

    Attributes:
        depth: Bits of a sample of a PNG file.
        grey: Whether a PNG file has one channel beside opacity.
        key: Transparent colour of a PNG file, a value for each channel.
        hidden: Pixels ``(H, W)`` of the transparent colour of a PNG file of 16-bit colours.
        cicp: Code points of primaries and transfer characteristics (ITU-T H.273).
        icc: ICC profile of a JPEG 2000 or BMP file.
    """

    depth: int = 8
    grey: bool = False
    key: tuple[int, ...] | None = None
    hidden: npt.NDArray[np.bool_] | None = None
    cicp: tuple[int, int] | None = None
    icc: bytes = b""


def read_header(image: Image.Image) -> Header:
    """Read the header of an opened image; one that is loaded already gives the defaults."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None):
        return Header()
    at = file.tell()
    try:
        if image.format == "PNG":
            return _of_png(file)
        if image.format == "AVIF":
            return _of_avif(file)
        if image.format == "JPEG2000":
            return _of_jpeg2000(file)
        if image.format == "BMP":
            return _of_bmp(file)
        return Header()
    finally:
        file.seek(at)


def _of_png(file: IO[bytes]) -> Header:
    chunks: dict[bytes, bytes] = {}
    file.seek(8)
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name in (b"IDAT", b"fdAT"):
            break
        if name in (b"IHDR", b"tRNS", b"cICP", b"acTL", b"fcTL"):
            chunks[name] = file.read(length)
            length = 0
        file.seek(length + 4, 1)
    if b"acTL" in chunks and b"fcTL" not in chunks:
        raise ValueError("an animation whose first picture is another one is not read")
    depth, colour = chunks[b"IHDR"][8:10]
    key, hidden = None, None
    if b"tRNS" in chunks and colour in _KEY:
        key = struct.unpack_from(_KEY[colour], chunks[b"tRNS"])
        if (depth, colour) == (16, 2):
            hidden = (_all_16_bits(file) == key).all(axis=2)
    cicp = chunks.get(b"cICP")
    if cicp is not None and cicp[2:4] != b"\0\1":
        raise ValueError("cICP of other than full-range RGB is not read")
    points = None if cicp is None else (cicp[0], cicp[1])
    return Header(depth, colour in (0, 4), key, hidden, points)


def _all_16_bits(file: IO[bytes]) -> npt.NDArray[np.uint16]:
    """Samples of a PNG file of 16-bit colours, of which Pillow gives one byte at a time."""
    halves = []
    for order in ("RGB;16B", "RGB;16L"):
        file.seek(0)
        image: Any = Image.open(file, formats=("PNG",))
        image.tile = [tile._replace(args=order) for tile in image.tile]
        halves.append(np.asarray(image).astype(np.uint16))
    samples: npt.NDArray[np.uint16] = halves[0] * np.uint16(256) + halves[1]
    return samples


def _of_avif(file: IO[bytes]) -> Header:
    file.seek(0)
    head = file.read(_HEAD)
    at = head.find(b"colrnclx")
    return Header() if at < 0 else Header(cicp=struct.unpack_from(">HH", head, at + 8))


def _of_jpeg2000(file: IO[bytes]) -> Header:
    file.seek(0)
    head = file.read(_HEAD)
    start = head.index(_CODESTREAM) + _COMPONENTS
    (count,) = struct.unpack_from(">H", head, start)
    depths = {head[start + 2 + 3 * number] + 1 for number in range(count)}
    if depths != {8} and (count > 1 or not 8 < max(depths) <= 16):
        # Pillow does not scale fewer bits, and takes white for black where there are more.
        raise ValueError("expected unsigned samples of 8 bits, of up to 16 if it is grey")
    at = head.find(b"colr")
    if at < 0:
        return Header()
    (length,), method = struct.unpack_from(">I", head, at - 4), head[at + 4]
    if method == 2:
        return Header(icc=head[at + 7 : at - 4 + length])
    (space,) = struct.unpack_from(">I", head, at + 7)
    if method == 1 and space not in _JP2_SPACES:
        raise ValueError(f"its colour space {space} is not read")
    return Header()


def _of_bmp(file: IO[bytes]) -> Header:
    """Read the colour space in a header of version 4 or 5 (BITMAPV5HEADER)."""
    file.seek(14)
    head = file.read(124)
    (size,) = struct.unpack_from("<I", head)
    if size < _BMP_4:
        return Header()
    space, *ends = struct.unpack_from("<4s9i3I", head, 56)
    if space == b"KNIL" or (space == bytes(4) and any(ends)):
        raise ValueError("colours of a linked profile, or calibrated ones, are not read")
    if space != b"DEBM" or size < _BMP_5:
        return Header()
    at, length = struct.unpack_from("<II", head, 112)
    file.seek(14 + at)
    return Header(icc=file.read(length))


def eight_bits(image: Image.Image, header: Header, name: object) -> Image.Image:
    """Convert a loaded image to 8 bits, mode L, LA, RGB or RGBA.

    Grey of more than 8 bits is scaled, with black as the smallest value. Samples of 16-bit colours
    keep their upper 8 bits.

    Args:
        image: Of any mode but CMYK and LAB, which have profiles of their own.
        header: Of its file.
        name: Names the image in messages.

    Raises:
        UnreadableImageError: If it is not known which value is white.
    """
    _check_samples(image, name)
    hidden, grey = _hidden(image, header), header.grey or image.mode in _GREY
    if image.mode.startswith(("I", "F")):  # 16-bit integers, or floats; Pillow itself clips them.
        tones = Image.fromarray(_levels(image, name))
    elif hidden is None and image.mode == "RGB" and "transparency" not in image.info:
        return image  # As nearly all are; converting would copy it.
    elif hidden is None and image.has_transparency_data:
        return image.convert("LA" if grey else "RGBA")
    else:
        tones = _with_colour_map(image).convert("L" if grey else "RGB")
    if hidden is not None:
        tones.putalpha(Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8)))
    return tones


def _check_samples(image: Image.Image, name: object) -> None:
    """Check that Pillow decodes a TIFF file rightly, and that it is known which value is white."""
    tags: Any = getattr(image, "tag_v2", None)
    if not tags:
        return
    bits, compression = max(tags.get(BITSPERSAMPLE, (1,))), tags.get(COMPRESSION, _RAW)
    is_rgb, ends = tags.get(PHOTOMETRIC_INTERPRETATION) == _RGB, (0, 2**bits - 1) * 3
    known = "unsigned integers of up to 16 bits, or floats in [0, 1]"
    refused = {
        (known, "signed integers, whose white is not known"): _SIGNED in tags.get(SAMPLEFORMAT, ()),
        (known, "integers of 32 bits, whose white is not known"): image.mode == "I" and bits == 32,
        ("floats that are uncompressed or little-endian", "others"): image.mode == "F"
        and compression != _RAW
        and tags.prefix == b"MM",
        ("a predictor with LZW or Deflate alone", "another"): compression in (_RAW, _PACKBITS)
        and tags.get(PREDICTOR, 1) != 1,
        ("subsampled YCbCr to be compressed", "it uncompressed"): compression == _RAW
        and image.mode == "YCbCr"
        and tags.get(YCBCRSUBSAMPLING, (2, 2)) != (1, 1),
        ("separate channels of 16 bits to be compressed", "them uncompressed"): compression == _RAW
        and tags.get(PLANAR_CONFIGURATION) == _SEPARATE
        and bits > 8,
        ("the transfer function of sRGB", "another"): "icc_profile" not in image.info
        and not _is_usual(tags.get(_TRANSFER_FUNCTION), bits),
        ("the least value as black and the largest as white", "others"): is_rgb
        and tags.get(_REFERENCE, ends) != ends,
    }
    for (expected, found), is_so in refused.items():
        if is_so:
            raise UnreadableImageError(f"{name}: expected {expected}, found {found}; convert it")


def _is_usual(transfer: tuple[int, ...] | None, bits: int) -> bool:
    """True without a TIFF file's tables of light by value, or if they are about that of sRGB."""
    if not transfer:
        return True
    light = np.array(transfer, np.float64) / _MOST_16
    if len(light) not in (2**bits, 3 * 2**bits):
        return False
    usual = np.linspace(0, 1, 2**bits) ** 2.2
    return bool(np.abs(light.reshape(-1, 2**bits) - usual).max() < _NEAR)


def _hidden(image: Image.Image, header: Header) -> npt.NDArray[np.bool_] | None:
    """Pixels ``(H, W)`` of the transparent colour of a PNG file; None if it has none."""
    if header.hidden is not None:
        return header.hidden
    if header.key is None:
        return None
    # Bits above the depth are to be ignored (PNG, 11.3.2.1); grey of 2 or 4 bits is scaled.
    most = 2**header.depth - 1
    scale = 255 // most if image.mode == "L" else 1
    same: npt.NDArray[np.bool_] = np.asarray(image) == np.bitwise_and(header.key, most) * scale
    return np.all(same, axis=2) if image.mode == "RGB" else same


def _levels(image: Image.Image, name: object) -> Pixels:
    """8-bit levels ``(H, W)`` of grey of more than 8 bits, 0 black."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    # Pillow reverses 8 bits and less.
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    if values.dtype.kind == "f":
        # NaN is black.
        lowest, highest = float(np.fmin.reduce(values, None)), float(np.fmax.reduce(values, None))
        if lowest < _FLOATS[0] or highest > _FLOATS[1]:
            raise UnreadableImageError(
                f"{name}: expected floats in [0, 1], found {lowest:.6g} to {highest:.6g}, whose "
                "white is not known; scale them, or convert to 8 or 16 bits"
            )
        scaled = np.nan_to_num(values) * 255.0
        shown: Pixels = np.rint(np.clip(255.0 - scaled if inverted else scaled, 0, 255)).astype(
            np.uint8
        )
        return shown
    lowest, highest = values.min(), values.max()
    most = 4095 if 12 in tags.get(BITSPERSAMPLE, ()) else _MOST_16
    if lowest < 0 or highest > most:
        text = f"integers of 0 to {most}, found {lowest} to {highest}"
        raise UnreadableImageError(f"{name}: expected {text}, whose white is not known")
    levels = np.rint(np.arange(most + 1) / (most / 255.0)).astype(np.uint8)
    shown = (levels[::-1] if inverted else levels)[values]
    return shown


def _with_colour_map(image: Image.Image) -> Image.Image:
    """Take a TIFF file's colour map of 8 bits, where 16 are expected, as viewers do."""
    colours = getattr(image, "tag_v2", {}).get(COLORMAP)
    if image.mode != "P" or not colours or max(colours) > 255:
        return image
    copied = image.copy()
    copied.palette = ImagePalette.raw("RGB;L", bytes(colours))
    copied.load()
    return copied


def on_white(layer: Image.Image) -> Image.Image:
    """Compose an RGBA image on white."""
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
