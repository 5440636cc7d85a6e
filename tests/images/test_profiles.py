"""Colours of other spaces than sRGB are seen and released as a viewer shows them."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageCms

from activeindex.activation.render import Original, Renderer
from activeindex.activation.settings import PAPER, Budget, ReleaseSettings
from activeindex.errors import UnreadableImageError
from activeindex.images.decoding import read_pixels
from activeindex.images.encoding import decode, encode
from activeindex.images.formats import FORMATS, FileFormat
from activeindex.images.levels import Pixels
from activeindex.images.picture import read_picture
from activeindex.images.quality import measure_quality
from tests.images.samples import (
    ALPHA,
    GREY,
    RGB,
    Values,
    cmyk_of,
    imagecodecs,
    levels,
    linear_of,
    on_white,
    png,
    png_chunk,
    srgb_curve,
    tiff,
)

P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
D65 = (0.3127, 0.3290)
MILD: Values = 0.3 + 0.3 * RGB
"""Colours that sRGB has, too."""


def to_xyz(xy: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """RGB to XYZ of primaries under D65, by columns (SMPTE RP 177)."""
    points = np.array([*xy, *D65]).reshape(4, 2)
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)])
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3] / points[3, 1])


def in_srgb(linear: Values, xy: tuple[float, ...]) -> Values:
    return srgb_curve(np.clip(linear @ (np.linalg.inv(to_xyz(BT709)) @ to_xyz(xy)).T, 0, 1))


def profile(xy: tuple[float, ...], gamma: float) -> bytes:
    """A profile made by another program than ours."""
    made: bytes = imagecodecs.cms_profile(
        "rgb", whitepoint=[*D65, 1.0], primaries=[*np.array(xy).reshape(3, 2).ravel()], gamma=gamma
    )
    return made


def shown_by_others(numbers: Pixels, icc: bytes, space: str) -> Pixels:
    """Colours in sRGB, by another colour management than Pillow's."""
    srgb = imagecodecs.cms_profile("srgb")
    shown: Pixels = imagecodecs.cms_transform(
        numbers, icc, srgb, colorspace=space, outcolorspace="rgb"
    )
    return shown


def tagged(*chunks: tuple[bytes, bytes], values: Values = MILD, alpha: bool = False) -> bytes:
    layer = np.dstack([values, ALPHA]) if alpha else values
    colour = (0 if values.ndim == 2 else 2) + 4 * alpha
    return png(8, colour, levels(layer, 8), b"".join(png_chunk(*chunk) for chunk in chunks))


def chrm(xy: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(1e5 * value) for value in (*D65, *xy)))


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(1e5 * gamma))


def cicp(primaries: int, transfer: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, 0, 1])


SRGB_TAG = (b"sRGB", b"\0")
TAGS: dict[str, tuple[list[tuple[bytes, bytes]], Values]] = {
    "linear": ([gama(1.0)], srgb_curve(MILD)),
    "gamma 1.8": ([gama(1 / 1.8)], srgb_curve(MILD**1.8)),
    "Adobe RGB": ([gama(1 / 2.2), chrm(ADOBE)], in_srgb(linear_of(MILD), ADOBE)),
    "P3 by chromaticities": ([chrm(P3)], in_srgb(linear_of(MILD), P3)),
    "Display P3": ([cicp(12, 13)], in_srgb(linear_of(MILD), P3)),
    "BT.2020, gamma 2.2": ([cicp(9, 4)], in_srgb(MILD**2.2, BT2020)),
    "cICP before gAMA and sRGB": (
        [SRGB_TAG, gama(1.0), cicp(12, 13)],
        in_srgb(linear_of(MILD), P3),
    ),
    "sRGB before gAMA": ([gama(1.0), SRGB_TAG], MILD),
    "sRGB by code points": ([cicp(1, 13)], MILD),
    "sRGB by gAMA and cHRM": ([gama(0.45455), chrm(BT709)], MILD),
    "no colours": ([chrm((0.3, 0.3) * 3)], MILD),
}


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize("alpha", [False, True])
def test_colour_tags_of_png_are_shown_and_survive_in_every_format(
    tmp_path: Path, name: str, alpha: bool
) -> None:
    tags, shown = TAGS[name]
    (tmp_path / "a.png").write_bytes(tagged(*tags, alpha=alpha))
    picture = read_picture(tmp_path / "a.png")
    expected = 255 * (on_white(shown) if alpha else shown)
    assert np.abs(picture.pixels - expected).max() < 3.1
    assert np.array_equal(picture.layer, levels(MILD, 8))
    for form in map(FileFormat, FORMATS):
        if alpha and not form.has_alpha:
            continue
        data = encode(picture, picture.layer, form)
        # As another colour management shows the released file.
        with Image.open(io.BytesIO(data)) as image:
            numbers = np.asarray(image.convert("RGB"))
            icc = image.info.get("icc_profile")
        seen = shown_by_others(numbers, icc, "rgb") if icc else numbers
        opaque = ALPHA > 0.9 if alpha else np.ones_like(GREY, bool)
        far = np.abs(seen.astype(float) - 255 * shown)[opaque]
        assert np.median(far) < 2
        assert form.name != "png" or far.max() < 3.1
        assert np.abs(decode(data) - picture.pixels.astype(float)).mean() < 3


@pytest.mark.parametrize("transfer", [16, 18, 77])
def test_high_dynamic_range_is_refused(tmp_path: Path, transfer: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(tagged(cicp(9, transfer)))
    with pytest.raises(UnreadableImageError, match=r"a\.png: expected colours of standard dynamic"):
        read_picture(path)
    options: Any = {"primaries": 9, "transfer": transfer, "level": 98, "speed": 9}
    if transfer != 77:
        data = imagecodecs.avif_encode(levels(MILD, 8).astype(np.uint8), **options)
        (tmp_path / "a.avif").write_bytes(data)
        with pytest.raises(UnreadableImageError, match=r"a\.avif: expected colours of standard"):
            read_pixels(tmp_path / "a.avif")


def test_code_points_of_avif_are_shown(tmp_path: Path) -> None:
    options: Any = {"primaries": 12, "transfer": 13, "level": 98, "speed": 9}
    data = imagecodecs.avif_encode(
        levels(MILD, 8).astype(np.uint8), pixelformat="444", matrix=1, **options
    )
    (tmp_path / "a.avif").write_bytes(data)
    picture = read_picture(tmp_path / "a.avif")
    assert np.abs(picture.pixels - 255 * in_srgb(linear_of(MILD), P3)).max() < 5
    assert not picture.is_srgb


def tagged_tiff(*tags: tuple[int, str, int, tuple[int, ...]], icc: bytes | None = None) -> bytes:
    extra = [(*tag, True) for tag in tags]
    return tiff(
        levels(MILD, 8).astype(np.uint8), photometric="rgb", extratags=extra, iccprofile=icc
    )


def table(gamma: float) -> tuple[int, str, int, tuple[int, ...]]:
    """A transfer function."""
    return 301, "H", 256, tuple((65535 * np.linspace(0, 1, 256) ** gamma).astype(int).tolist())


def fractions(tag: int, *values: float) -> tuple[int, str, int, tuple[int, ...]]:
    parts = [part for value in values for part in (round(1e4 * value), 10_000)]
    return tag, "2I", len(values), tuple(parts)


def test_primaries_of_tiff_are_shown_and_other_transfers_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tagged_tiff(fractions(319, *P3), fractions(318, *D65), table(2.2)))
    picture = read_picture(path)
    assert np.abs(picture.pixels - 255 * in_srgb(linear_of(MILD), P3)).max() < 3.1
    assert not picture.is_srgb
    path.write_bytes(tagged_tiff(table(1.0), icc=profile(ADOBE, 2.2)))  # Which goes before.
    assert np.abs(read_pixels(path) - 255 * in_srgb(MILD**2.2, ADOBE)).max() < 2.1
    for tag in (table(1.0), fractions(532, 16, 235, 16, 235, 16, 235)):
        path.write_bytes(tagged_tiff(tag))
        with pytest.raises(UnreadableImageError, match=r"a\.tif: expected .*; convert it"):
            read_pixels(path)


def bmp(space: bytes, ends: tuple[int, ...] = (0,) * 12, icc: bytes = b"") -> bytes:
    """A BMP file of version 5; ``ends`` are XYZ of the primaries, and gammas."""
    rows = levels(MILD, 8).astype(np.uint8)[::-1, :, ::-1].tobytes()
    sizes = struct.pack("<IiiHHIIiiII16x", 124, 32, 24, 1, 24, 0, len(rows), 0, 0, 0, 0)
    colours = struct.pack("<4s12iIIII", space, *ends, 4, 124 + len(rows), len(icc), 0)
    start = 14 + 124
    head = struct.pack("<2sIHHI", b"BM", start + len(rows) + len(icc), 0, 0, start)
    return head + sizes + colours + rows + icc


def test_colour_spaces_of_bmp_are_shown_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    for space in (b"BGRs", b" niW", bytes(4)):
        path.write_bytes(bmp(space))
        assert np.array_equal(read_pixels(path), levels(MILD, 8))
    path.write_bytes(bmp(b"DEBM", icc=profile(ADOBE, 2.2)))
    picture = read_picture(path)
    assert picture.icc == profile(ADOBE, 2.2)
    assert np.abs(picture.pixels - 255 * in_srgb(MILD**2.2, ADOBE)).max() < 2.1
    for data in (bmp(bytes(4), (1 << 29,) * 9 + (1 << 16,) * 3), bmp(b"KNIL", icc=b"c:\\a.icc\0")):
        path.write_bytes(data)
        with pytest.raises(UnreadableImageError, match=r"a\.bmp: .* linked profile, or calibrated"):
            read_pixels(path)


def test_an_animation_with_another_first_picture_is_refused(tmp_path: Path) -> None:
    frame = struct.pack(">IIIIIHHBB", 0, 32, 24, 0, 0, 1, 1, 0, 0)
    several = (b"acTL", struct.pack(">II", 1, 0))
    (tmp_path / "a.png").write_bytes(tagged(several, (b"fcTL", frame)))
    assert np.array_equal(read_pixels(tmp_path / "a.png"), levels(MILD, 8))
    (tmp_path / "a.png").write_bytes(tagged(several))
    with pytest.raises(UnreadableImageError, match=r"an animation whose first picture is another"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_profile_is_shown_to_the_extractor_and_stays_in_the_file(
    tmp_path: Path, name: str
) -> None:
    icc = profile(ADOBE, 2.2)
    options: Any = {"lossless": True} if name == "a.webp" else {"quality": 98}
    Image.fromarray(levels(MILD, 8).astype(np.uint8)).save(
        tmp_path / name, icc_profile=icc, **options
    )
    picture = read_picture(tmp_path / name)
    assert picture.icc == icc
    assert np.abs(picture.pixels - 255 * in_srgb(MILD**2.2, ADOBE)).max() < (
        8 if name == "a.jpg" else 2.1
    )


@pytest.mark.parametrize("name", FORMATS)
def test_greys_with_a_profile_are_shown_alike_in_every_format(tmp_path: Path, name: Any) -> None:
    icc = imagecodecs.cms_profile("gray", gamma=1.0, whitepoint=[*D65, 1.0])
    Image.fromarray(levels(GREY, 8).astype(np.uint8)).save(tmp_path / "a.png", icc_profile=icc)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.one_channel, picture.icc) == (True, icc)
    expected = 255 * np.dstack([srgb_curve(GREY)] * 3)
    assert np.abs(picture.pixels - expected).max() < 2.1
    original = Original.of(picture, ReleaseSettings(FileFormat(name)))
    data = original.encoded(original.picture.layer)
    assert np.median(np.abs(decode(data) - expected)) < 3


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_greys_with_a_profile_of_colours_are_converted(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(levels(GREY, 8).astype(np.uint8))
    image.save(tmp_path / name, icc_profile=profile(ADOBE, 1.8), quality=98)
    picture = read_picture(tmp_path / name)
    assert (picture.one_channel, picture.icc) == (True, b"")
    expected = 255 * np.dstack([srgb_curve(GREY**1.8)] * 3)
    assert np.abs(picture.pixels - expected).max() < (8 if name == "a.jpg" else 2.1)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / name, icc_profile=srgb, quality=98)
    found = read_picture(tmp_path / name).pixels[..., 0].astype(int)
    assert np.abs(found - levels(GREY, 8)).max() < (3 if name == "a.jpg" else 1)


def test_cmyk_with_a_profile_is_converted_by_it(tmp_path: Path) -> None:
    # A profile of CMYK whose colours differ from the simple conversion: made of a table.
    icc = ink_profile()
    inks = levels(cmyk_of(RGB), 8).astype(np.uint8)
    Image.frombytes("CMYK", (32, 24), inks.tobytes()).save(tmp_path / "a.tif", icc_profile=icc)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.icc == b""
    expected = shown_by_others(inks, icc, "cmyk").astype(int)
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 2
    plain = np.asarray(Image.frombytes("CMYK", (32, 24), inks.tobytes()).convert("RGB"))
    assert np.abs(picture.pixels.astype(int) - plain).max() > 40


def ink_profile() -> bytes:
    """A printer's profile with a lut8 table: each corner of CMYK to Lab."""
    corners = []
    for c in (0, 1):
        for m in (0, 1):
            for y in (0, 1):
                for k in (0, 1):
                    light = 255 * (1 - 0.3 * c - 0.35 * m - 0.1 * y) * (1 - k)
                    corners.append((light, 128 - 30 * c + 40 * m, 128 - 40 * c + 60 * y))
    table = np.clip(np.array(corners), 0, 255).astype(np.uint8).tobytes()
    identity = np.eye(3) * 65536
    curve = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", *identity.ravel().astype(int)) + curve * 4 + table + curve * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    tags = {b"A2B0": lut, b"wtpt": white, b"desc": text, b"cprt": b"text\0\0\0\0none\0"}
    start, head, body = 132 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        head += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4xI", start + len(body), 0x02400000) + b"prtrCMYKLab " + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + struct.pack(">I", len(tags)) + head + body


def test_a_broken_profile_is_passed_over(tmp_path: Path) -> None:
    icc = profile(P3, 2.2)
    for broken in (icc[:200], icc[:36] + b"xxxx" + icc[40:], icc[:16] + b"RGB ", b"RGB"):
        Image.fromarray(levels(MILD, 8).astype(np.uint8)).save(
            tmp_path / "a.png", icc_profile=broken
        )
        picture = read_picture(tmp_path / "a.png")
        assert np.array_equal(picture.pixels, levels(MILD, 8))


def test_srgb_profiles_change_nothing(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(levels(RGB, 8).astype(np.uint8)).save(tmp_path / "a.png", icc_profile=icc)
    picture = read_picture(tmp_path / "a.png")
    assert picture.is_srgb
    assert picture.pixels is picture.layer


def test_texts_of_png_are_no_tags(tmp_path: Path) -> None:
    texts = [(b"tEXt", key + b"\0text") for key in (b"icc_profile", b"gamma", b"transparency")]
    texts += [(b"tEXt", b"srgb\0text"), (b"tEXt", b"chromaticity\0text"), (b"tEXt", b"exif\0text")]
    for values in (MILD, GREY):
        (tmp_path / "a.png").write_bytes(tagged(*texts, values=values))
        pixels = read_picture(tmp_path / "a.png").pixels
        expected = levels(values, 8)
        assert np.array_equal(pixels if values.ndim == 3 else pixels[..., 0], expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_budget_holds_for_the_colours_that_are_shown(
    tmp_path: Path, photographs: dict[str, Pixels], name: Any, alpha: bool
) -> None:
    """Linear numbers: a level of them in the dark is a dozen of those that are shown."""
    piece = photographs["astronaut"][:64, :64] / 255
    layer = linear_of(piece)
    samples = levels(np.dstack([layer, np.linspace(0, 1, 64)[None].repeat(64, 0)]), 8)
    colour = 6 if alpha else 2
    (tmp_path / "a.png").write_bytes(
        png(8, colour, samples if alpha else samples[..., :3], png_chunk(*gama(1.0)))
    )
    picture = read_picture(tmp_path / "a.png")
    form = FileFormat(name, None if name == "png" else 95)
    original = Original.of(picture, ReleaseSettings(form, Budget(psnr=30.0)))
    strong = PAPER.replace(scaling=100.0)
    render = Renderer([original], [torch.Generator().manual_seed(0)], strong, 64)
    (free,) = render.free
    with torch.no_grad():
        free *= 1e6  # As large as after some steps.
    seen, _ = render()
    seen.square().sum().backward()  # type: ignore[no-untyped-call]
    assert free.grad is not None
    assert free.grad.abs().sum() > 0
    file = render.write()[0]
    (tmp_path / f"b{form.suffix}").write_bytes(file.data)
    back = read_picture(tmp_path / f"b{form.suffix}")
    assert np.array_equal(back.pixels, file.pixels)
    found = measure_quality(original.picture.pixels, back.pixels)
    assert file.budget_met == (found.psnr >= 30.0)
    if name == "png":
        assert 30.0 <= found.psnr < 31.0
        assert back.icc == picture.icc
