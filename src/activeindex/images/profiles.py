"""Colour spaces of pictures: ICC profiles, the tags that stand for one, and conversion to sRGB.

A picture keeps the numbers and the profile of its file. Where the profile shows other colours than
sRGB, what readers see is converted: the extractor, budgets and edits work on that.
"""

import io
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from activeindex.errors import UnreadableImageError
from activeindex.images.tones import Header

# Bytes of an ICC profile that name its colour space (ICC.1:2022, 7.2).
_COLOUR_SPACE = slice(16, 20)

_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}

_SAME = 2
"""Largest difference in levels between sRGB and a profile that is taken for it."""

# ITU-T H.273, table 2: x and y of red, green, blue and white.
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
_SMPTE170 = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)
_PRIMARIES = {
    1: _BT709,
    2: _BT709,  # Unspecified.
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: _SMPTE170,
    7: _SMPTE170,
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}

_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
# Table 3: exponent g of Y = X^g, or g, a, b, c, d of Y = (aX + b)^g from d on and cX below.
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    2: _SRGB_CURVE,  # Unspecified.
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB_CURVE,
}
_HDR = {16: "PQ", 18: "HLG"}

# Tags of TIFF.
_WHITE_POINT, _PRIMARY_CHROMATICITIES = 318, 319

# Bradford's cones, and the white of ICC profiles.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def file_icc(image: Image.Image, header: Header) -> bytes:
    """The ICC profile in a file, of any colour space; empty if there is none."""
    icc = header.icc or image.info.get("icc_profile")
    return icc if isinstance(icc, bytes) else b""  # A PNG file may have a text of that name.


def file_profile(image: Image.Image, header: Header, grey: bool, name: object) -> bytes:
    """The ICC profile of an image's numbers; empty for sRGB.

    It is that of the file, or made of the tags of a PNG, AVIF or TIFF file that stand for one; cICP
    goes before iCCP, sRGB, and gAMA with cHRM (PNG, third edition, 4.3).

    Args:
        image: As Pillow loaded it.
        header: Of its file.
        grey: Whether its numbers are greys; a profile of another colour space is left out.
        name: Names the image in messages.

    Raises:
        UnreadableImageError: If the file says that it has colours of high dynamic range, or of an
            unknown kind.
    """
    icc = file_icc(image, header)
    if icc and image.format == "AVIF":
        return _of_space(icc, grey)  # The code points beside it are for decoding.
    if header.cicp is not None:
        primaries, transfer = header.cicp
        if primaries not in _PRIMARIES or transfer not in _CURVES:
            kind = f"{_HDR[transfer]}, high dynamic range" if transfer in _HDR else "another kind"
            raise UnreadableImageError(
                f"{name}: expected colours of standard dynamic range, found {kind} (code points "
                f"{primaries}/{transfer}); convert it to sRGB"
            )
        return _made(_PRIMARIES[primaries], _CURVES[transfer], grey)
    if icc:
        return _of_space(icc, grey)
    if tags := getattr(image, "tag_v2", None):
        white, primaries = tags.get(_WHITE_POINT, _D65), tags.get(_PRIMARY_CHROMATICITIES)
        return _made((*primaries, *white), _SRGB_CURVE, grey) if primaries else b""
    if image.format != "PNG" or isinstance(image.info.get("srgb"), int):
        return b""
    gamma, points = image.info.get("gamma"), image.info.get("chromaticity")
    curve: tuple[float, ...] = _SRGB_CURVE
    # 1/2.2 is what PNG files of sRGB say beside their sRGB tag.
    if isinstance(gamma, float) and 0.05 < gamma < 20 and abs(gamma - 1 / 2.2) > 0.005:
        curve = (1 / gamma,)
    xy = (*points[2:], *points[:2]) if isinstance(points, tuple) else _BT709
    return _made(xy, curve, grey)


def _of_space(icc: bytes, grey: bool) -> bytes:
    return icc if icc[_COLOUR_SPACE] == _SPACES["L" if grey else "RGB"] else b""


@lru_cache(maxsize=16)
def to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion of images of a mode from a profile to sRGB.

    Args:
        icc: The profile; Lab needs none.
        mode: L, RGB, CMYK or LAB.

    Returns:
        The conversion; None where the profile shows the colours of sRGB, is broken, or is for
        another mode: viewers pass over such a profile.
    """
    if mode != "LAB" and icc[_COLOUR_SPACE] != _SPACES[mode]:
        return None
    probe = _probe(mode)
    try:
        lab = mode == "LAB"
        source = ImageCms.createProfile("LAB") if lab else io.BytesIO(icc)
        profile, srgb = ImageCms.ImageCmsProfile(source), ImageCms.createProfile("sRGB")
        # Optimised, conversions of Lab are wrong by up to 30 levels.
        flags = ImageCms.Flags.NOOPTIMIZE if lab else ImageCms.Flags.NOCACHE  # Threads share it.
        transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", flags=flags)
        shown = ImageCms.applyTransform(probe, transform)
    except Exception:  # Little CMS meets broken profiles with errors of several types.
        return None
    if mode not in ("L", "RGB") or shown is None:
        return transform
    change = np.asarray(shown).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(change).max() > _SAME else None


def converted(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Convert an opaque image to sRGB; without a transform, by Pillow's simple conversion."""
    shown = None if transform is None else ImageCms.applyTransform(image, transform)
    if shown is None:
        return image.convert("RGB")
    shown.info.pop("icc_profile", None)
    return shown


def _probe(mode: str) -> Image.Image:
    """All greys, or 9 levels of each channel of a mode with all others."""
    bands = Image.getmodebands(mode)
    levels = np.linspace(0, 255, 256 if bands == 1 else 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * bands), axis=-1).reshape(1, -1, bands)
    return Image.frombytes(mode, (grid.shape[1], 1), grid.tobytes())


@lru_cache(maxsize=16)
def _made(xy: Sequence[float], curve: Sequence[float], grey: bool) -> bytes:
    """Make an ICC profile; empty for that of sRGB.

    Args:
        xy: Chromaticities of red, green, blue and white.
        curve: As in ``_CURVES``.
        grey: Make a profile of greys, which have no primaries.
    """
    if curve == _SRGB_CURVE and (grey or np.allclose(xy, _BT709, atol=2e-3)):
        return b""
    shape = struct.pack(">4sIHH", b"para", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(*curve)
    tags = {b"desc": _text("made of the colour tags of a picture"), b"cprt": _text("CC0")}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + _fixed(*_D50)
    if grey:
        tags[b"kTRC"] = shape
    else:
        colorants = _colorants(xy)
        if colorants is None:
            return b""
        for column, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*colorants[:, column])
            tags[letter + b"TRC"] = shape
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    # ICC.1:2022, 7.2: version 4.3, for displays; the date is fixed, so that files are the same.
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    header = struct.pack(">I4sI", start + len(body), bytes(4), 0x04300000) + b"mntr"
    header += _SPACES["L" if grey else "RGB"] + b"XYZ " + date + b"acsp" + bytes(28)
    header += _fixed(*_D50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def _colorants(xy: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """XYZ of red, green and blue, columns, adapted to D50; None if they span no colours."""
    points = np.array(xy, np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] <= 0).any():
        return None
    x, y = points.T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    if abs(np.linalg.det(xyz[:, :3])) < 1e-3:
        return None
    white = xyz[:, 3]
    gains = (_CONES @ _D50) / (_CONES @ white)
    adapted = np.linalg.inv(_CONES) @ np.diag(gains) @ _CONES
    found: npt.NDArray[np.float64] = adapted @ (xyz[:, :3] * np.linalg.solve(xyz[:, :3], white))
    return found if np.abs(found).max() < 100 else None


def _fixed(*values: float) -> bytes:
    """Numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    """A text as multiLocalizedUnicodeType, in English."""
    encoded = text.encode("utf-16-be")
    return struct.pack(">4sIII4sII", b"mluc", 0, 1, 12, b"enUS", len(encoded), 28) + encoded
