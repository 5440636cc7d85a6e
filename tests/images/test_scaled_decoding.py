"""``read_rgb(path, enough)``: large JPEGs decoded only as far as is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from activeindex.errors import UnreadableImageError
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import Pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scaled")


def same_at(size: tuple[int, int], found: Image.Image, whole: Image.Image) -> float:
    """Root mean square difference in levels, both brought to a size."""
    small = [np.asarray(i.resize(size, Image.Resampling.BOX), float) for i in (found, whole)]
    return float(np.sqrt(np.mean((small[0] - small[1]) ** 2)))


@settings(max_examples=40)
@given(
    width=st.integers(11, 1000),
    height=st.integers(11, 1000),
    enough=st.integers(1, 1200),
    progressive=st.booleans(),
    subsampling=st.integers(0, 2),
)
def test_both_sides_keep_enough_pixels_and_the_colours(
    folder: Path, width: int, height: int, enough: int, progressive: bool, subsampling: int
) -> None:
    colour = (200, 120, 40)
    path = folder / "a.jpg"
    Image.new("RGB", (width, height), colour).save(
        path, progressive=progressive, subsampling=subsampling, quality=95
    )
    image = read_rgb(path, enough)
    assert min(image.size) >= min(enough, width, height)
    assert min(image.size) <= 2 * enough or image.width * 8 <= width + 7
    assert np.abs(np.subtract(np.asarray(image), colour)).max() <= 4


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 85},
        {"quality": 85, "progressive": True},
        {"quality": 95, "subsampling": 0},
        {"quality": 85, "restart_marker_rows": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_scaled_photograph_is_the_whole_one_reduced(
    tmp_path: Path, photographs: dict[str, Pixels], mode: str, options: dict[str, Any]
) -> None:
    photograph = Image.fromarray(photographs["china"]).crop((0, 0, 640, 424))
    photograph.convert(mode).save(tmp_path / "a.jpg", **options)
    whole, scaled = read_rgb(tmp_path / "a.jpg"), read_rgb(tmp_path / "a.jpg", 100)
    assert (whole.size, scaled.size, scaled.mode) == ((640, 424), (160, 106), "RGB")
    assert same_at((40, 53), scaled, whole) < 2.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_photograph_is_upright(
    tmp_path: Path, photographs: dict[str, Pixels], orientation: int
) -> None:
    photograph = Image.fromarray(photographs["chelsea"]).crop((0, 0, 448, 296))
    exif = photograph.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    photograph.save(tmp_path / "a.jpg", exif=exif, quality=95)
    whole, scaled = read_rgb(tmp_path / "a.jpg"), read_rgb(tmp_path / "a.jpg", 64)
    assert (scaled.width > scaled.height) == (whole.width > whole.height)
    assert scaled.width * 4 == whole.width
    assert same_at((24, 24), scaled, whole) < 2.5


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp", "a.gif"])
def test_other_formats_are_decoded_in_full(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / name)
    assert read_rgb(tmp_path / name, 32).size == (400, 300)


def test_the_smallest_side_counts_before_scaling(tmp_path: Path) -> None:
    Image.new("RGB", (400, 10)).save(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImageError, match=r"found 400x10$"):
        read_rgb(tmp_path / "a.jpg", 1)


def test_a_truncated_photograph_is_refused_though_it_would_be_scaled(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photographs["coffee"]).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UnreadableImageError, match=r"truncated"):
        read_rgb(path, 50)
