"""Pictures of every kind of samples, made by other encoders than the one that reads them.

``SAMPLES`` has what each row of the table in docs/pictures.md promises.
"""

import importlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

# Their stubs do not take options by name from a dictionary.
imagecodecs: Any = importlib.import_module("imagecodecs")
tifffile: Any = importlib.import_module("tifffile")

Values = npt.NDArray[np.float64]
"""Values in [0, 1]: ``(H, W)`` or ``(H, W, 3)``."""

_y, _x = np.mgrid[0:24, 0:32]
GREY: Values = (np.sin(_x / 9) + np.cos(_y / 7) + 2) / 4
RGB: Values = np.dstack([GREY, 1 - GREY, GREY[::-1]])
ALPHA: Values = _x / 31
Row = tuple[str, str, str, str]
"""Format, samples, interpretation and transparency."""

KINDS = ("none", "alpha", "premultiplied alpha", "unspecified")


@dataclass(frozen=True, eq=False)
class Sample:
    """A file, and what a viewer shows of it; None if it is to be refused."""

    name: str
    data: bytes
    shown: Values | None
    tolerance: float = 1.01


def on_white(colours: Values, alpha: Values = ALPHA) -> Values:
    layer = colours if colours.ndim == 3 else np.dstack([colours] * 3)
    return layer * alpha[..., None] + 1 - alpha[..., None]


def levels(values: Values, bits: int) -> npt.NDArray[np.uint16]:
    samples: npt.NDArray[np.uint16] = np.rint(values * (2**bits - 1)).astype(np.uint16)
    return samples


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(depth: int, colour: int, samples: npt.NDArray[Any], before: bytes = b"") -> bytes:
    """A PNG file, byte by byte; ``before`` stands before the pixels."""
    height, width = samples.shape[:2]
    if depth < 8:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        rows = samples.astype(">u2" if depth == 16 else "u1").reshape(height, -1).view(np.uint8)
    filtered = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(filtered))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def _png_grey(depths: tuple[int, ...]) -> Iterator[Sample]:
    for depth in depths:
        samples = levels(GREY, depth)
        shown = samples / (2**depth - 1)
        key = samples[20, 20]
        hidden = np.where(samples == key, 1.0, shown)
        for high in (0, 1 << depth) if depth < 16 else (0,):  # Bits above the depth do not count.
            tag = png_chunk(b"tRNS", struct.pack(">H", key | high))
            yield Sample(f"key{high}-{depth}.png", png(depth, 0, samples, tag), hidden)
        yield Sample(f"grey{depth}.png", png(depth, 0, samples), shown)


def _png_colours(depth: int) -> Iterator[Sample]:
    yield from _png_grey((depth,))
    samples = levels(RGB, depth)
    key = samples[10, 10].copy()
    samples[12:14] = key
    samples[14] = key + np.array([0, 0, 1], np.uint16)  # Differs in the lowest bit alone.
    shown = samples / (2**depth - 1)
    hidden = np.where((samples == key).all(axis=2, keepdims=True), 1.0, shown)
    yield Sample(f"rgb{depth}.png", png(depth, 2, samples), shown)
    tag = png_chunk(b"tRNS", struct.pack(">3H", *key))
    yield Sample(f"rgbkey{depth}.png", png(depth, 2, samples, tag), hidden)
    for colour, values in ((4, GREY), (6, RGB)):
        data = png(depth, colour, levels(np.dstack([values, ALPHA]), depth))
        yield Sample(f"alpha{colour}-{depth}.png", data, on_white(values), 3)


def _png_palettes() -> Iterator[Sample]:
    for depth in (1, 2, 4, 8):
        count = 2**depth
        colours = np.random.default_rng(0).integers(0, 256, (count, 3)).astype(np.uint8)
        palette = png_chunk(b"PLTE", colours.tobytes())
        samples, alphas = levels(GREY, depth), np.linspace(0, 255, count).astype(np.uint8)
        shown = colours[samples] / 255
        yield Sample(f"palette{depth}.png", png(depth, 3, samples, palette), shown)
        tags = palette + png_chunk(b"tRNS", alphas.tobytes())
        seen = on_white(shown, alphas[samples] / 255)
        yield Sample(f"palette-alpha{depth}.png", png(depth, 3, samples, tags), seen, 2)


def tiff(samples: npt.NDArray[Any], order: str = "<", **options: Any) -> bytes:
    file = io.BytesIO()
    ordered = samples.astype(f"{order}{samples.dtype.str[1:]}")
    tifffile.imwrite(file, ordered, byteorder=order, metadata=None, **options)
    return file.getvalue()


def _tiff_grey(kind: str, white: float, refused: Callable[..., bool]) -> Iterator[Sample]:
    for order in "<>":
        for interpretation in ("minisblack", "miniswhite"):
            for compression in (None, "zlib"):
                values = GREY * white if kind[0] == "f" else np.rint(GREY * white)
                options = {"photometric": interpretation, "compression": compression}
                data = tiff(values.astype(kind), order, **options)
                shown = GREY if interpretation == "minisblack" else 1 - GREY
                name = f"{kind}-{order == '<'}-{interpretation}-{compression}.tif"
                no = refused(order == ">", interpretation, compression)
                yield Sample(name, data, None if no else shown)


def _never(*_: object) -> bool:
    return False


def _always(*_: object) -> bool:
    return True


def _tiff_bits(depths: tuple[int, ...]) -> Iterator[Sample]:
    for order in "<>":
        for depth in depths:
            for interpretation in ("minisblack", "miniswhite"):
                if depth == 12 and interpretation == "miniswhite":
                    continue
                samples: npt.NDArray[Any] = levels(GREY, depth)
                shown = samples / (2**depth - 1)
                samples = samples > 0 if depth == 1 else samples
                kind = samples.astype(np.uint8) if 1 < depth < 8 else samples
                options = {} if depth == 1 else {"bitspersample": depth}
                data = tiff(kind, order, photometric=interpretation, **options)
                refused = depth == 12 and order == ">"
                seen = shown if interpretation == "minisblack" else 1 - shown
                name = f"{depth}bits-{order == '<'}-{interpretation}.tif"
                yield Sample(name, data, None if refused else seen)


def _tiff_floats() -> Iterator[Sample]:
    yield from _tiff_grey("f4", 1, lambda big, _, compression: big and bool(compression))
    overshot = np.where(GREY > 0.9, 1.5, np.where(GREY < 0.1, np.nan, GREY))
    shown = np.where(GREY > 0.9, 1.0, np.where(GREY < 0.1, 0.0, GREY))
    yield Sample("overshoot.tif", tiff(overshot.astype("f4"), photometric="minisblack"), shown)
    for name, values in (("0-255", GREY * 255), ("negative", GREY - 5), ("inf", 1 / GREY - 1e9)):
        data = tiff(values.astype("f4"), photometric="minisblack")
        yield Sample(f"floats-{name}.tif", data, None)


def _tiff_channels(values: Values, depth: int, *, apart: bool = False) -> Iterator[Sample]:
    grey = values.ndim == 2
    extras = {"alpha": "unassalpha", "premultiplied alpha": "assocalpha"}
    for order in "<>":
        for compression in (None, "zlib"):
            options: dict[str, Any] = {"compression": compression}
            options["photometric"] = "minisblack" if grey else "rgb"
            for kind in KINDS[grey:]:
                layer = values
                if kind == "premultiplied alpha":
                    layer = values * (ALPHA if grey else ALPHA[..., None])
                samples = levels(layer if kind == "none" else np.dstack([layer, ALPHA]), depth)
                extra = {} if kind == "none" else {"extrasamples": [extras.get(kind, kind)]}
                data = tiff(
                    samples.astype(f"u{depth // 8}"),
                    order,
                    planarconfig="contig",
                    **options,
                    **extra,
                )
                shown = on_white(values, ALPHA if "alpha" in kind else np.ones_like(ALPHA))
                refused = grey and depth == 16
                name = f"{depth}-{order == '<'}-{compression}-{kind}.tif"
                yield Sample(name, data, None if refused else shown, 3)
            if apart:
                planes = np.moveaxis(levels(values, depth), 2, 0).astype(f"u{depth // 8}")
                data = tiff(planes, order, planarconfig="separate", **options)
                refused = depth == 16 and compression is None
                name = f"{depth}-{order == '<'}-{compression}-apart.tif"
                yield Sample(name, data, None if refused else values)


def _tiff_layouts() -> Iterator[Sample]:
    """Orders of bytes, compressions, predictors, tiles and strips."""
    for order in "<>":
        for compression in ("zlib", "lzw", "packbits"):
            for predictor in (False, True):
                for kind, values in ((1, RGB), (2, RGB), (2, GREY)):
                    data = tiff(
                        levels(values, 8 * kind).astype(f"u{kind}"),
                        order,
                        photometric="rgb" if values.ndim == 3 else "minisblack",
                        compression=compression,
                        predictor=predictor,
                    )
                    refused = compression == "packbits" and predictor
                    name = f"{order == '<'}-{compression}-{predictor}-{kind}-{values.ndim}.tif"
                    yield Sample(name, data, None if refused else values)
        for name, options in (("tiles", {"tile": (16, 16)}), ("strips", {"rowsperstrip": 5})):
            data = tiff(levels(RGB, 16), order, photometric="rgb", **options)
            yield Sample(f"{order == '<'}-{name}.tif", data, RGB)


def _tiff_palette() -> Iterator[Sample]:
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    samples = levels(GREY, 8).astype(np.uint8)
    shown = np.moveaxis((colours >> 8)[:, samples], 0, 2) / 255
    for name, table in (("16", colours), ("8", colours >> 8)):
        yield Sample(f"map{name}.tif", tiff(samples, photometric="palette", colormap=table), shown)


def cmyk_of(rgb: Values) -> Values:
    black = 1 - rgb.max(axis=2, keepdims=True)
    return np.dstack([(1 - rgb - black) / np.maximum(1 - black, 1e-9), black])


def _tiff_cmyk() -> Iterator[Sample]:
    for depth in (8, 16):
        for order in "<>":
            samples = levels(cmyk_of(RGB), depth).astype(f"u{depth // 8}")
            data = tiff(samples, order, photometric="separated")
            yield Sample(f"cmyk{depth}-{order == '<'}.tif", data, RGB, 4)


def _tiff_ycbcr() -> Iterator[Sample]:
    luma = RGB @ [0.299, 0.587, 0.114]
    chroma = [0.5 + (RGB[..., 2] - luma) / 1.772, 0.5 + (RGB[..., 0] - luma) / 1.402]
    samples = levels(np.clip(np.dstack([luma, *chroma]), 0, 1), 8).astype(np.uint8)
    for compression in (None, "zlib"):
        options: dict[str, Any] = {"photometric": "ycbcr", "compression": compression}
        data = tiff(samples, subsampling=(1, 1), **options)
        yield Sample(f"ycbcr-{compression}.tif", data, RGB, 4)
    halved = struct.pack("<HHI", 530, 3, 2)  # The tag of subsampling, with 2 and 2 as its values.
    raw = tiff(samples, photometric="ycbcr", subsampling=(1, 1))
    at = raw.index(halved) + len(halved)
    yield Sample("subsampled.tif", raw[:at] + struct.pack("<HH", 2, 2) + raw[at + 4 :], None)


# sRGB to XYZ under D50, by columns (Lindbloom, Bradford).
_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
_D50 = np.array([0.9642, 1.0, 0.8249])


def srgb_curve(linear: Values) -> Values:
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.clip(linear, 0, None) ** (1 / 2.4) - 0.055
    )


def linear_of(srgb: Values) -> Values:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _tiff_lab() -> Iterator[Sample]:
    cubic = np.cbrt(linear_of(0.2 + 0.6 * RGB) @ _TO_XYZ.T / _D50)
    x, y, z = np.moveaxis(cubic, 2, 0)
    lightness, a, b = 116 * y - 16, np.rint(500 * (x - y)), np.rint(200 * (y - z))
    samples = np.dstack([np.rint(lightness * 2.55), a % 256, b % 256]).astype(np.uint8)
    # What the rounded numbers are, in sRGB.
    y = (samples[..., 0] / 2.55 + 16) / 116
    xyz = np.dstack([y + a / 500, y, y - b / 200]) ** 3 * _D50
    shown = srgb_curve(xyz @ np.linalg.inv(_TO_XYZ).T)
    for compression in (None, "zlib"):
        data = tiff(samples, photometric="cielab", compression=compression)
        yield Sample(f"lab-{compression}.tif", data, shown, 1.5)


def _tiff_icclab() -> Iterator[Sample]:
    yield Sample("icclab.tif", tiff(np.zeros((24, 32, 3), np.uint8), photometric="icclab"), None)


def _jpeg() -> Iterator[Sample]:
    for name, values in (("grey", GREY), ("rgb", RGB)):
        data = imagecodecs.jpeg8_encode(levels(values, 8).astype(np.uint8), level=98)
        yield Sample(f"{name}.jpg", data, values, 8)
    data = imagecodecs.jpeg8_encode(
        levels(RGB, 8).astype(np.uint8), level=98, colorspace="RGB", outcolorspace="RGB"
    )
    yield Sample("rgb-apart.jpg", data, RGB, 8)


def _jpeg_cmyk() -> Iterator[Sample]:
    inks = levels(cmyk_of(RGB), 8).astype(np.uint8)
    # Inks are stored inverted, as Adobe does, and browsers expect also without Adobe's marker.
    file = io.BytesIO()
    Image.frombytes("CMYK", (32, 24), inks.tobytes()).save(file, "JPEG", quality=98)
    yield Sample("adobe.jpg", file.getvalue(), RGB, 10)
    options = {"colorspace": "CMYK", "outcolorspace": "CMYK"}
    plain = imagecodecs.jpeg8_encode(255 - inks, level=98, **options)
    at = plain.find(b"\xff\xee")
    if at >= 0:
        plain = plain[:at] + plain[at + 2 + struct.unpack(">H", plain[at + 2 : at + 4])[0] :]
    yield Sample("plain.jpg", plain, RGB, 10)
    ycck = imagecodecs.jpeg8_encode(255 - inks, level=98, colorspace="CMYK", outcolorspace="YCCK")
    yield Sample("ycck.jpg", ycck, RGB, 12)


def _jpeg2000(depths: tuple[int, ...], kinds: dict[str, Values], no: bool) -> Iterator[Sample]:
    for depth in depths:
        for name, values in kinds.items():
            for container in ("jp2", "j2k"):
                samples = levels(values, depth).astype(np.uint8 if depth <= 8 else np.uint16)
                options = {"bitspersample": depth, "codecformat": container, "mct": False}
                data = imagecodecs.jpeg2k_encode(samples, level=0, **options)
                shown = values if "a" not in name else on_white(values[..., :-1].squeeze())
                yield Sample(f"{name}{depth}-{container}.jp2", data, None if no else shown, 3)


_WITHOUT, _WITH = {"y": GREY, "rgb": RGB}, {"ya": np.dstack([GREY, ALPHA])}
_COLOURS = {"rgb": RGB, "rgba": np.dstack([RGB, ALPHA])}


def _webp() -> Iterator[Sample]:
    data = imagecodecs.webp_encode(levels(RGB, 8).astype(np.uint8), lossless=True)
    yield Sample("a.webp", data, RGB)
    samples = levels(np.dstack([RGB, ALPHA]), 8).astype(np.uint8)
    yield Sample("b.webp", imagecodecs.webp_encode(samples, lossless=True), on_white(RGB), 3)


def _avif() -> Iterator[Sample]:
    for depth in (8, 10, 12):
        for name, values in (("rgb", RGB), ("rgba", np.dstack([RGB, ALPHA])), ("y", GREY)):
            samples = levels(values, depth).astype(np.uint8 if depth == 8 else np.uint16)
            options = {"bitspersample": depth, "pixelformat": 400 if name == "y" else "444"}
            data = imagecodecs.avif_encode(samples, level=98, speed=9, **options)
            shown = on_white(RGB) if name == "rgba" else values
            yield Sample(f"{name}{depth}.avif", data, shown, 8)


def _gif() -> Iterator[Sample]:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    samples = levels(GREY, 8).astype(np.uint8)
    data = imagecodecs.gif_encode(samples, colormap=colours)
    shown = colours[samples] / 255
    yield Sample("a.gif", data, shown)
    # An extension before the picture names a transparent colour (GIF89a, 23).
    at = data.index(b"\x2c", 13 + 768)
    extension = bytes([0x21, 0xF9, 4, 1, 0, 0, int(samples[20, 20]), 0])
    hidden = np.where((samples == samples[20, 20])[..., None], 1.0, shown)
    yield Sample("b.gif", b"GIF89a" + data[6:at] + extension + data[at:], hidden)


def _bmp() -> Iterator[Sample]:
    yield Sample("a.bmp", imagecodecs.bmp_encode(levels(RGB, 8).astype(np.uint8)), RGB)
    yield Sample("b.bmp", imagecodecs.bmp_encode(levels(GREY, 8).astype(np.uint8)), GREY)
    for depth in (1, 4):
        samples, shown = levels(GREY, depth), levels(GREY, depth) / (2**depth - 1)
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(24, -1), axis=1)[::-1].tobytes()
        greys = np.linspace(0, 255, 2**depth).round().astype(np.uint8)
        palette = np.dstack([greys, greys, greys, np.zeros_like(greys)]).tobytes()
        sizes = struct.pack("<IiiHHIIiiII", 40, 32, 24, 1, depth, 0, len(rows), 0, 0, 0, 0)
        start = 14 + len(sizes) + len(palette)
        head = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
        yield Sample(f"{depth}.bmp", head + sizes + palette + rows, shown)


def _netpbm(kind: bytes, values: Values) -> Iterator[Sample]:
    for most in (255, 1023, 65535):
        samples = np.rint(values * most).astype("u1" if most < 256 else ">u2")
        data = kind + b" 32 24 %d\n" % most + samples.tobytes()
        yield Sample(f"{most}.p{'g' if kind == b'P5' else 'p'}m", data, values, 1.5)


SAMPLES: dict[Row, Callable[[], Iterator[Sample]]] = {
    ("PNG", "1, 2, 4 bits", "grey", "none, colour key"): lambda: _png_grey((1, 2, 4)),
    ("PNG", "8 bits", "grey, RGB", "none, colour key, alpha"): lambda: _png_colours(8),
    ("PNG", "16 bits", "grey, RGB", "none, colour key, alpha"): lambda: _png_colours(16),
    ("PNG", "1, 2, 4, 8 bits", "palette", "none, alpha of each entry"): _png_palettes,
    ("TIFF", "1, 2, 4 bits", "BlackIsZero, WhiteIsZero", "none"): lambda: _tiff_bits((1, 2, 4)),
    ("TIFF", "8 bits", "BlackIsZero, WhiteIsZero", "none"): lambda: _tiff_grey("u1", 255, _never),
    ("TIFF", "12 bits", "BlackIsZero", "none"): lambda: _tiff_bits((12,)),
    ("TIFF", "16 bits", "BlackIsZero, WhiteIsZero", "none"): lambda: _tiff_grey(
        "u2", 65535, lambda big, interpretation, _: big and interpretation == "miniswhite"
    ),
    ("TIFF", "floats of 32 bits", "BlackIsZero, WhiteIsZero", "none"): _tiff_floats,
    ("TIFF", "floats of 16 or 64 bits", "BlackIsZero, WhiteIsZero", "none"): lambda: (
        sample for kind in ("f2", "f8") for sample in _tiff_grey(kind, 1, _always)
    ),
    ("TIFF", "signed integers", "BlackIsZero, WhiteIsZero", "none"): lambda: (
        sample
        for kind, most in (("i1", 127), ("i2", 32767), ("i4", 2e9), ("i4", 255))
        for sample in _tiff_grey(kind, most, _always)
    ),
    ("TIFF", "integers of 32 bits", "BlackIsZero, WhiteIsZero", "none"): lambda: _tiff_grey(
        "u4", 2**32 - 1, _always
    ),
    ("TIFF", "8 bits", "BlackIsZero", ", ".join(KINDS[1:])): lambda: _tiff_channels(GREY, 8),
    ("TIFF", "16 bits", "BlackIsZero", ", ".join(KINDS[1:])): lambda: _tiff_channels(GREY, 16),
    ("TIFF", "8 bits", "RGB", ", ".join(KINDS)): lambda: _tiff_channels(RGB, 8, apart=True),
    ("TIFF", "16 bits", "RGB", ", ".join(KINDS)): lambda: _tiff_channels(RGB, 16, apart=True),
    ("TIFF", "8, 16 bits", "BlackIsZero, RGB", "none"): _tiff_layouts,
    ("TIFF", "floats, 32 bits", "RGB", "none"): lambda: (
        Sample(f"{kind}.tif", tiff((RGB * most).astype(kind), photometric="rgb"), None)
        for kind, most in (("f4", 1), ("u4", 2**32 - 1))
    ),
    ("TIFF", "8 bits", "palette", "none"): _tiff_palette,
    ("TIFF", "8, 16 bits", "CMYK", "none"): _tiff_cmyk,
    ("TIFF", "8 bits", "YCbCr", "none"): _tiff_ycbcr,
    ("TIFF", "8 bits", "CIELab", "none"): _tiff_lab,
    ("TIFF", "8 bits", "ICCLab", "none"): _tiff_icclab,
    ("JPEG", "8 bits", "grey, YCbCr, RGB", "none"): _jpeg,
    ("JPEG", "8 bits", "CMYK, YCCK", "none"): _jpeg_cmyk,
    ("JPEG 2000", "8 bits", "grey, RGB", "none, alpha"): lambda: _jpeg2000(
        (8,), {**_WITHOUT, **_WITH, **_COLOURS}, False
    ),
    ("JPEG 2000", "10, 12, 16 bits", "grey", "none"): lambda: _jpeg2000(
        (10, 12, 16), {"y": GREY}, False
    ),
    ("JPEG 2000", "10, 12, 16 bits", "RGB, grey with alpha", "none, alpha"): lambda: _jpeg2000(
        (10, 12, 16), {**_WITH, **_COLOURS}, True
    ),
    ("JPEG 2000", "4 bits", "grey, RGB", "none"): lambda: _jpeg2000((4,), _WITHOUT, True),
    ("WebP", "8 bits", "RGB", "none, alpha"): _webp,
    ("AVIF", "8, 10, 12 bits", "grey, RGB", "none, alpha"): _avif,
    ("GIF", "1 to 8 bits", "palette", "none, one colour"): _gif,
    ("BMP", "1, 4, 8, 24 bits", "palette, RGB", "none"): _bmp,
    ("PGM", "8, 16 bits", "grey", "none"): lambda: _netpbm(b"P5", GREY),
    ("PPM", "8, 16 bits", "RGB", "none"): lambda: _netpbm(b"P6", RGB),
}
