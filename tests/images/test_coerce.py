"""Whatever a Python user has is taken for the same picture, and what is none is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.errors import InputError, ShapeError, UnreadableImageError
from activeindex.images.coerce import ImageLike, Images, as_pictures, iterate_pictures
from activeindex.images.levels import Pixels, to_tensor
from activeindex.images.picture import read_picture
from tests.images.test_picture import with_alpha


@pytest.fixture
def cat(photographs: dict[str, Pixels]) -> Pixels:
    return np.ascontiguousarray(photographs["chelsea"][:120, 60:240])


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Pixels]) -> Path:
    """Two photographs, one of them in a subfolder, beside a file that is none."""
    below = tmp_path / "holiday"
    below.mkdir()
    Image.fromarray(photographs["coffee"]).save(below / "coffee.jpg")
    Image.fromarray(photographs["astronaut"]).save(tmp_path / "astronaut.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize(
    "made",
    [
        lambda pixels: pixels,
        lambda pixels: pixels.astype(np.float32) / 255,
        lambda pixels: pixels.astype(np.float64) / 255,
        lambda pixels: pixels[:, ::-1][:, ::-1],
        Image.fromarray,
        to_tensor,
        lambda pixels: to_tensor(pixels).double(),
        lambda pixels: to_tensor(pixels).requires_grad_(),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
        lambda pixels: (image for image in [pixels]),
        lambda pixels: pixels[None],
        lambda pixels: to_tensor(pixels)[None],
        lambda pixels: [to_tensor(pixels)[None]],
    ],
)
def test_every_kind_of_image_gives_its_pixels(
    cat: Pixels, made: Callable[[Pixels], Images]
) -> None:
    (found,) = as_pictures(made(cat))
    assert found.name is None
    assert found.path is None
    np.testing.assert_array_equal(found.picture.pixels, cat)
    assert found.picture.alpha is None
    assert not found.picture.grey


def test_a_file_is_read_with_all_that_a_released_file_keeps(tmp_path: Path, cat: Pixels) -> None:
    path = tmp_path / "cat.webp"
    with_alpha(cat).save(path, lossless=True, exif=Image.Exif())
    for given in (path, str(path)):
        (found,) = as_pictures(given)
        expected = read_picture(path)
        assert (found.name, found.path) == ("cat.webp", path)
        np.testing.assert_array_equal(found.picture.layer, expected.layer)
        np.testing.assert_array_equal(found.picture.alpha, expected.alpha)
        assert found.picture.exif == expected.exif


def test_a_folder_stands_for_its_images_and_names_are_relative_to_it(folder: Path) -> None:
    found = as_pictures(folder)
    assert [one.name for one in found] == ["astronaut.png", "holiday/coffee.jpg"]
    assert [one.path for one in found] == [folder / one.name for one in found if one.name]
    assert [one.name for one in as_pictures(str(folder))] == [one.name for one in found]


def test_a_mix_keeps_its_order(folder: Path, cat: Pixels) -> None:
    mix: list[ImageLike] = [cat, folder, to_tensor(cat), str(folder / "astronaut.png")]
    names = [one.name for one in as_pictures(mix)]
    assert names == [None, "astronaut.png", "holiday/coffee.jpg", None, "astronaut.png"]


def test_opacity_and_grey_are_kept(cat: Pixels) -> None:
    layered = with_alpha(cat)
    values = np.asarray(layered)
    alphas: list[ImageLike] = [
        layered,
        values,
        values.astype(np.float32) / 255,
        torch.from_numpy(values.copy()).permute(2, 0, 1),
    ]
    for image in alphas:
        (found,) = as_pictures(image)
        np.testing.assert_array_equal(found.picture.layer, values[..., :3])
        np.testing.assert_array_equal(found.picture.alpha, values[..., 3])
    grey = np.asarray(Image.fromarray(cat).convert("L"))
    greys: list[ImageLike] = [
        Image.fromarray(grey),
        grey,
        grey[..., None],
        grey / 255,
        torch.from_numpy(grey.copy())[None],
    ]
    for image in greys:
        (found,) = as_pictures(image)
        assert found.picture.grey
        assert found.picture.one_channel
        np.testing.assert_array_equal(found.picture.pixels, np.dstack([grey] * 3))


def test_a_camera_s_orientation_is_applied_to_a_pillow_image(cat: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(cat).transpose(Image.Transpose.ROTATE_90)
    turned.getexif().update(exif)
    (found,) = as_pictures(turned)
    np.testing.assert_array_equal(found.picture.pixels, cat)


def test_images_are_decoded_one_at_a_time(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    found = iterate_pictures(folder)
    assert next(found).name == "astronaut.png"
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        next(found)

    def asked() -> Iterator[Path]:
        yield folder / "astronaut.png"
        raise AssertionError("asked for more than was needed")

    assert next(iterate_pictures(asked())).name == "astronaut.png"


def test_float_values_that_rounding_carried_past_the_ends_are_taken(cat: Pixels) -> None:
    values = cat.astype(np.float32) / 255 * np.float32(1.000001)
    np.testing.assert_array_equal(as_pictures(values)[0].picture.pixels, cat)


NAN = np.full((20, 20, 3), 0.5)
NAN[3, 4, 1] = np.nan


@pytest.mark.parametrize(
    ("image", "kind", "text"),
    [
        (NAN, InputError, "image 1: expected values in [0, 1], found NaN"),
        (
            np.full((20, 20, 3), 255.0),
            InputError,
            "image 1: expected values in [0, 1], found 255 to 255",
        ),
        (
            np.linspace(0, 200, 1200).reshape(20, 20, 3),
            InputError,
            "image 1: expected values in [0, 1], found 0 to 200; divide by 255, or give uint8",
        ),
        (
            torch.full((3, 20, 20), -0.25),
            InputError,
            "image 1: expected values in [0, 1], found -0.25 to -0.25",
        ),
        (
            np.full((20, 20, 3), np.inf),
            InputError,
            "image 1: expected values in [0, 1], found inf to inf",
        ),
        (
            np.zeros((20, 20, 3), np.int64),
            InputError,
            "image 1: expected uint8 or floats in [0, 1], found int64",
        ),
        (
            np.zeros((20, 20, 3), np.uint16),
            InputError,
            "image 1: expected uint8 or floats in [0, 1], found uint16",
        ),
        (
            torch.zeros((3, 20, 20), dtype=torch.int32),
            InputError,
            "image 1: expected uint8 or floats in [0, 1], found torch.int32",
        ),
        (
            np.zeros((3, 20, 20)),
            ShapeError,
            "image 1, an array: expected shape (H, W, 3), found (3, 20, 20)",
        ),
        (
            torch.zeros(20, 20, 3),
            ShapeError,
            "image 1, a tensor: expected shape (3, H, W), found (20, 20, 3)",
        ),
        (
            torch.zeros(20, 20),
            ShapeError,
            "image 1, a tensor: expected shape (3, H, W), found (20, 20)",
        ),
        (
            np.zeros(20),
            ShapeError,
            "image 1, an array: expected shape (H, W, 3), found (20)",
        ),
        (
            np.zeros((10, 40, 3), np.uint8),
            InputError,
            "image 1: expected an image of at least 11x11 pixels, found 40x10",
        ),
        (
            Image.new("RGB", (9, 40)),
            InputError,
            "image 1: expected an image of at least 11x11 pixels, found 9x40",
        ),
        (
            None,
            InputError,
            "image 1: expected a path, a Pillow image, an array (H, W, 3) or a tensor (3, H, W), "
            "found None",
        ),
        (
            b"\x89PNG",
            InputError,
            "image 1: expected a path, a Pillow image, an array (H, W, 3) or a tensor (3, H, W), "
            "found a bytes",
        ),
    ],
)
def test_what_is_no_image_is_refused_by_its_position(
    cat: Pixels, image: ImageLike, kind: type[InputError], text: str
) -> None:
    with pytest.raises(InputError) as caught:
        as_pictures([cat, image])
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_a_truncated_pillow_image_is_refused_by_its_position(tmp_path: Path, cat: Pixels) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(cat).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    reason = r"^image 0: the image cannot be decoded \("
    with Image.open(path) as image, pytest.raises(UnreadableImageError, match=reason):
        as_pictures(image)
    with pytest.raises(UnreadableImageError, match=r"cut\.png: the image cannot be decoded"):
        as_pictures(path)


@pytest.mark.parametrize("nothing", [[], (), iter([]), np.zeros((0, 20, 20, 3), np.uint8)])
def test_no_image_at_all_is_refused(nothing: Images) -> None:
    with pytest.raises(InputError) as caught:
        as_pictures(nothing)
    assert str(caught.value) == "images: expected one or more, found none"


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"none\.png: expected an image, found nothing"):
        as_pictures(tmp_path / "none.png")
    with pytest.raises(InputError, match=r"^images .*: expected images .*, found none$"):
        as_pictures(tmp_path)


def test_something_else_than_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"^images: expected a path.*, or several, found a int$"):
        as_pictures(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"or several, found a dict$"):
        as_pictures({"a": 1})
