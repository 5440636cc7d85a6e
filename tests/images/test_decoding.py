import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from activeindex.errors import InputError, UnreadableImageError
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import Pixels, to_pixels, to_tensor
from activeindex.images.picture import read_picture
from tests.images.samples import SAMPLES
from tests.images.test_profiles import ADOBE, chrm, cicp, gama, tagged

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)


def quarters() -> Image.Image:
    """40x20; white with a red upper left and a blue upper right quarter."""
    image = Image.new("RGB", (40, 20), WHITE)
    image.paste(RED, (0, 0, 20, 10))
    image.paste(BLUE, (20, 0, 40, 10))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Upper left, upper right, lower left, lower right."""
    right, low = image.width - 3, image.height - 3
    places = [(2, 2), (right, 2), (2, low), (right, low)]
    return [tuple(np.asarray(image)[y, x].tolist()) for x, y in places]


def assert_about(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], by: int) -> None:
    assert np.abs(np.subtract(found, expected)).max() <= by


def orient(image: Image.Image, orientation: int) -> Image.Exif:
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.gif", {}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_lossless_formats_give_the_exact_pixels(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    quarters().save(tmp_path / name, **options)
    image = read_rgb(tmp_path / name)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(quarters()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"quality": 95}),
        ("a.jpeg", {"quality": 95, "progressive": True}),
        ("a.webp", {"quality": 95}),
        ("a.tiff", {"compression": "jpeg", "quality": 95}),
    ],
)
def test_lossy_formats_give_about_the_photograph(
    tmp_path: Path, photographs: dict[str, Pixels], name: str, options: dict[str, Any]
) -> None:
    original = Image.fromarray(photographs["astronaut"]).resize((128, 128))
    original.save(tmp_path / name, **options)
    difference = np.asarray(read_rgb(tmp_path / name), float) - np.asarray(original, float)
    assert np.sqrt(np.mean(difference**2)) < 8


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, name: str) -> None:
    Image.new("L", (20, 20), 77).save(tmp_path / name)
    assert_about(corners(read_rgb(tmp_path / name)), [(77, 77, 77)] * 4, by=1)


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    image = Image.new("1", (20, 20), 1)
    image.paste(0, (0, 0, 10, 10))
    image.save(tmp_path / "a.png")
    assert corners(read_rgb(tmp_path / "a.png")) == [(0, 0, 0), WHITE, WHITE, WHITE]


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    quarters().quantize(8).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert corners(read_rgb(tmp_path / "a.png")) == [RED, BLUE, WHITE, WHITE]


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_the_transparent_colour_of_a_palette_becomes_white(tmp_path: Path, name: str) -> None:
    image = quarters().quantize(8)
    red = image.getpixel((2, 2))
    image.save(tmp_path / name, transparency=red)
    assert corners(read_rgb(tmp_path / name)) == [WHITE, BLUE, WHITE, WHITE]


def test_alpha_is_composed_on_white(tmp_path: Path) -> None:
    image = quarters().convert("RGBA")
    image.putpixel((2, 2), (255, 0, 0, 102))  # 40 % of red on white
    image.putpixel((37, 2), (0, 0, 255, 0))
    image.save(tmp_path / "a.png")
    found = corners(read_rgb(tmp_path / "a.png"))
    assert found == [(255, 153, 153), WHITE, WHITE, WHITE]


def test_grey_with_alpha_is_composed_on_white(tmp_path: Path) -> None:
    Image.new("LA", (20, 20), (0, 51)).save(tmp_path / "a.png")  # 20 % of black on white
    assert corners(read_rgb(tmp_path / "a.png")) == [(204, 204, 204)] * 4


def test_a_transparent_colour_without_alpha_channel_becomes_white(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png", transparency=RED)
    assert corners(read_rgb(tmp_path / "a.png")) == [WHITE, BLUE, WHITE, WHITE]


def test_a_cmyk_photograph_has_its_colours(tmp_path: Path) -> None:
    quarters().convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    assert_about(corners(read_rgb(tmp_path / "a.jpg")), [RED, BLUE, WHITE, WHITE], by=3)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.full((20, 20), 65535, dtype=np.uint16)
    values[:10, :10], values[:10, 10:], values[10:, :10] = 0, 257, 32768
    Image.fromarray(values).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "I;16"
    found = corners(read_rgb(tmp_path / "a.png"))
    assert found == [(0, 0, 0), (1, 1, 1), (128, 128, 128), WHITE]


def test_float_grey_is_taken_in_0_to_1(tmp_path: Path) -> None:
    values = np.full((20, 20), 0.2, dtype=np.float32)
    values[:10, :10], values[:10, 10:], values[10:, :10] = -1.0, 2.0, np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = corners(read_rgb(tmp_path / "a.tif"))
    assert found == [(0, 0, 0), WHITE, (0, 0, 0), (51, 51, 51)]


# How the upright picture looks as a camera stores it (EXIF 2.3, 4.6.4 A, orientation).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_every_exif_orientation_gives_the_upright_picture(
    tmp_path: Path, orientation: int, name: str
) -> None:
    turn = STORED[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    stored.save(tmp_path / name, exif=orient(stored, orientation), quality=95)
    upright = read_rgb(tmp_path / name)
    assert upright.size == (40, 20)
    assert_about(corners(upright), [RED, BLUE, WHITE, WHITE], by=12)


def test_a_picture_whose_other_exif_entries_are_broken_is_read_upright(tmp_path: Path) -> None:
    stored = quarters().transpose(Image.Transpose.ROTATE_180)
    exif = orient(stored, 3)
    exif[ExifTags.Base.XResolution] = 72.0
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    rational, raw = b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x07"  # tag 011A and its type
    assert data.count(rational) == 1
    (tmp_path / "a.jpg").write_bytes(data.replace(rational, raw))
    assert_about(corners(read_rgb(tmp_path / "a.jpg")), [RED, BLUE, WHITE, WHITE], by=12)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (40, 20), WHITE)]
    quarters().save(tmp_path / name, save_all=True, append_images=frames, lossless=True)
    assert corners(read_rgb(tmp_path / name)) == [RED, BLUE, WHITE, WHITE]


def test_an_image_is_a_float_tensor_in_0_to_1(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    image = to_tensor(read_rgb(tmp_path / "a.png"))
    assert image.dtype == torch.float32
    assert image.shape == (3, 20, 40)
    assert image[:, 2, 2].tolist() == [1.0, 0.0, 0.0]
    assert image[:, 2, 37].tolist() == [0.0, 0.0, 1.0]


def damaged() -> dict[str, tuple[bytes, str]]:
    import io

    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG")
    small = io.BytesIO()
    Image.new("RGB", (3, 3)).save(small, "PNG")
    return {
        "truncated.jpg": (jpeg.getvalue()[:2000], r"the image cannot be decoded \(.*truncated"),
        "empty.png": (b"", "expected an image, found another format"),
        "text.jpg": (b"not an image\n" * 10, "expected an image, found another format"),
        "tiny.png": (small.getvalue(), "expected an image of at least 11x11 pixels, found 3x3"),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_file_is_refused_on_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    data, message = damaged()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableImageError, match=f"^{tmp_path / name}: {message}") as caught:
        read_rgb(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"a\.png: expected an image, found nothing$"):
        read_rgb(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UnreadableImageError, match=r"b\.png: the image cannot be decoded"):
        read_rgb(tmp_path / "b.png")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One small file of every kind."""
    folder = tmp_path_factory.mktemp("files")
    image = quarters()
    names = ("a.jpg", "b.png", "c.webp", "d.tif", "e.bmp")
    for name in names:
        image.save(folder / name, exif=orient(image, 6))
    image.quantize(8).save(folder / "f.png", transparency=1, pnginfo=PngInfo())
    image.save(folder / "g.gif", save_all=True, append_images=[image.rotate(90)])
    image.save(folder / "h.tif", compression="tiff_adobe_deflate")
    chosen = {"rgbkey16.png", "key0-4.png", "12bits-True-minisblack.tif", "overshoot.tif"}
    chosen |= {"lab-None.tif", "cmyk8-True.tif", "map8.tif", "rgba8.avif", "rgb8-jp2.jp2", "1.bmp"}
    for sample in (sample for row in SAMPLES.values() for sample in row()):
        if sample.name in chosen:
            (folder / sample.name).write_bytes(sample.data)
    (folder / "tags.png").write_bytes(tagged(gama(1.0), chrm(ADOBE), cicp(12, 13)))
    return sorted(folder.iterdir())


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=300)
@given(data=st.data())
def test_a_file_with_wrong_bytes_is_an_image_or_refused(
    files: list[Path], data: st.DataObject
) -> None:
    original = data.draw(st.sampled_from(files))
    content = bytearray(original.read_bytes())
    place = st.integers(0, len(content) - 1)
    for at, byte in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=4)):
        content[at] = byte
    del content[data.draw(st.one_of(place, st.just(len(content)))) :]
    path = original.with_name(f"damaged{original.suffix}")
    path.write_bytes(content)
    try:
        answer = read_rgb(path).mode
        assert read_picture(path).pixels.shape[2] == 3
    except UnreadableImageError as error:
        answer = str(error)
    assert answer == "RGB" or re.fullmatch(re.escape(f"{path}: ") + ".+", answer)


def test_all_256_levels_come_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack([levels, levels.T, 255 - levels], axis=2)
    assert np.array_equal(to_pixels(to_tensor(pixels)), pixels)


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)), fill=st.nothing()
    )
)
def test_any_pixels_come_back(pixels: Pixels) -> None:
    assert np.array_equal(to_pixels(to_tensor(pixels)), pixels)
    assert np.array_equal(to_pixels(to_tensor(Image.fromarray(pixels))), pixels)


def test_pixels_are_clamped_then_rounded() -> None:
    values = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.5])
    pixels = to_pixels(values.expand(3, 1, 6))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_what_is_not_8_bit_rgb_is_refused(pixels: Pixels) -> None:
    with pytest.raises(InputError, match=r"^image: expected 8-bit RGB \(H, W, 3\), found"):
        to_tensor(pixels)
