"""Whatever a file holds besides opaque colours is read, and survives in a released file."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from activeindex.errors import InputError, UnencodableError
from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import decode, encode, write_bytes
from activeindex.images.formats import FORMATS, PNG, FileFormat
from activeindex.images.levels import Pixels
from activeindex.images.picture import Picture, read_picture

TURNED = Image.Transpose.ROTATE_90
ORIENTATION = 6
"""What a camera says of a picture that it stored so."""


@functools.cache  # Each new profile holds the time at which it was made.
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_alpha(photograph: Pixels, size: int = 48) -> Image.Image:
    """A piece of a photograph: a transparent left edge, a half-transparent right one."""
    alpha = np.full((size, size), 255, np.uint8)
    alpha[:, :10], alpha[:, -10:] = 0, 128
    return Image.fromarray(np.dstack([photograph[:size, :size], alpha]))


@pytest.mark.parametrize(
    ("mode", "name", "grey", "one_channel", "has_alpha"),
    [
        ("RGB", "a.png", False, False, False),
        ("RGB", "a.jpg", False, False, False),
        ("RGBA", "a.png", False, False, True),
        ("RGBA", "a.webp", False, False, True),
        ("P", "a.gif", False, False, False),
        ("CMYK", "a.jpg", False, False, False),
        ("L", "a.jpg", True, True, False),
        ("LA", "a.png", True, True, True),
        ("1", "a.png", True, True, False),
        ("I;16", "a.png", True, True, False),
    ],
)
def test_a_picture_is_seen_as_its_file_is_read(
    tmp_path: Path,
    photographs: dict[str, Pixels],
    mode: str,
    name: str,
    grey: bool,
    one_channel: bool,
    has_alpha: bool,
) -> None:
    image = with_alpha(photographs["astronaut"])
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / name)
    picture = read_picture(tmp_path / name)
    assert np.array_equal(picture.pixels, np.asarray(read_rgb(tmp_path / name)))
    assert (picture.grey, picture.one_channel) == (grey, one_channel)
    assert (picture.alpha is not None) == has_alpha


def test_a_colour_file_without_colours_is_grey(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.dstack([levels] * 3)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert (picture.grey, picture.one_channel) == (True, False)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("name", FORMATS)
def test_opacity_and_channels_survive_in_a_file(
    tmp_path: Path, photographs: dict[str, Pixels], mode: str, name: Any
) -> None:
    form = FileFormat(name)
    with_alpha(photographs["astronaut"]).convert(mode).save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    if picture.alpha is not None and not form.has_alpha:
        with pytest.raises(UnencodableError, match=r"^jpeg: expected an opaque picture, fo"):
            encode(picture, picture.layer, form)
        return
    out = tmp_path / f"out{form.suffix}"
    write_bytes(out, encode(picture, picture.layer, form))
    back = read_picture(out)
    if picture.alpha is not None:
        assert back.alpha is not None
        assert np.array_equal(back.alpha, picture.alpha)
    if picture.grey:
        assert np.ptp(back.layer.astype(int), axis=2).max() <= (3 if name == "webp" else 0)
    assert back.one_channel == (picture.one_channel and name != "webp")
    assert np.array_equal(decode(out.read_bytes()), back.pixels)
    if name == "png":
        assert np.array_equal(back.layer, picture.layer)


@pytest.mark.parametrize("source", ["in.jpg", "in.png", "in.webp", "in.tif"])
@pytest.mark.parametrize("name", FORMATS)
def test_exif_survives_and_says_upright(
    tmp_path: Path, photographs: dict[str, Pixels], source: str, name: Any
) -> None:
    stored = Image.fromarray(photographs["astronaut"][:64, :48])
    exif = stored.getexif()
    exif[ExifTags.Base.Orientation] = ORIENTATION
    exif[ExifTags.Base.Artist] = "Ada"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "50 mm"
    stored.save(tmp_path / source, exif=exif, quality=95)
    picture = read_picture(tmp_path / source)
    assert picture.layer.shape == (48, 64, 3)
    data = encode(picture, picture.layer, FileFormat(name))
    write_bytes(tmp_path / "out", data)
    with Image.open(tmp_path / "out") as image:
        image.load()
        found = image.getexif()
        assert found[ExifTags.Base.Artist] == "Ada"
        if source != "in.tif":  # Where Pillow has not written it.
            assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50 mm"
        assert found.get(ExifTags.Base.Orientation, 1) == 1
        assert image.size == (64, 48)


def test_nothing_but_the_orientation_changes_in_exif(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 20))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = ORIENTATION, "Ada"
    image.save(tmp_path / "a.jpg", exif=exif)
    before, after = exif.tobytes().removeprefix(b"Exif\0\0"), read_picture(tmp_path / "a.jpg").exif
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert [before[at] for at in changed] == [ORIENTATION]
    assert [after[at] for at in changed] == [1]


def test_broken_exif_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_picture(tmp_path / "a.jpg").exif == b""


@pytest.mark.parametrize("name", FORMATS)
def test_a_profile_survives_byte_for_byte(tmp_path: Path, name: Any) -> None:
    Image.new("RGB", (20, 20), (200, 90, 10)).save(tmp_path / "a.jpg", icc_profile=srgb())
    picture = read_picture(tmp_path / "a.jpg")
    write_bytes(tmp_path / "b", encode(picture, picture.layer, FileFormat(name)))
    with Image.open(tmp_path / "b") as image:
        assert image.info["icc_profile"] == srgb()


def test_a_profile_of_another_colour_space_is_left_out(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 20)).save(tmp_path / "a.jpg", icc_profile=srgb()[:16] + b"CMYK" * 40)
    assert read_picture(tmp_path / "a.jpg").icc == b""


def test_jpeg_keeps_the_resolution_of_chroma(photographs: dict[str, Pixels]) -> None:
    """Activation changes blue most, which chroma at half the resolution would take away."""
    photograph = photographs["flower"]
    with_blue = photograph.copy()
    with_blue[::2, ::2, 2] = np.minimum(photograph[::2, ::2, 2], 235) + 20
    form = FileFormat("jpeg", 95)
    plain, changed = (
        decode(encode(Picture(pixels), pixels, form)).astype(float)
        for pixels in (photograph, with_blue)
    )
    wanted = with_blue.astype(float) - photograph
    kept = ((changed - plain) * wanted).sum() / (wanted**2).sum()
    assert kept > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gif",), r"^format: expected one of png, jpeg, webp, found 'gif'$"),
        (("png", 90), r"^quality: expected none for png, which is lossless, found 90$"),
        (("jpeg", 0), r"^quality: expected 1 to 100, found 0$"),
        (("webp", 101), r"^quality: expected 1 to 100, found 101$"),
    ],
)
def test_a_format_that_does_not_exist_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FileFormat(*arguments)


def test_a_picture_that_a_format_cannot_hold_is_refused() -> None:
    wide = np.zeros((11, 16384, 3), np.uint8)
    with pytest.raises(UnencodableError, match=r"^webp: expected at most 16383 pixels on a side, "):
        encode(Picture(wide), wide, FileFormat("webp"))
    small = wide[:, :11]
    with pytest.raises(UnencodableError, match=r"^jpeg: expected at most 65527 bytes of EXIF, fou"):
        encode(Picture(small, exif=bytes(70_000)), small, FileFormat("jpeg"))
    assert np.array_equal(decode(encode(Picture(wide), wide, PNG)), wide)
