import io

import numpy as np
import pytest
from PIL import Image

from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.pixels import (
    convert_color,
    enhance_edges,
    jpeg,
    pixelization,
    shuffle_pixels,
)
from activeindex.errors import InputError

from .images import BLACK, RED, WHITE, array, image_of, noise, pixels, plain


def test_jpeg_is_what_a_file_of_that_quality_holds(photograph: Image.Image) -> None:
    buffer = io.BytesIO()
    photograph.save(buffer, "JPEG", quality=50)
    assert jpeg(photograph, 50).tobytes() == Image.open(buffer).tobytes()
    assert jpeg(photograph, 50).tobytes() == jpeg(photograph, 50).tobytes()


def test_lower_quality_is_further_from_the_photograph(photograph: Image.Image) -> None:
    errors = [np.abs(array(jpeg(photograph, q)) - array(photograph)).mean() for q in (10, 50, 90)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_jpeg_refuses_other_qualities_and_too_long_images() -> None:
    for quality in (0, 101, 50.5, True):
        with pytest.raises(InputError, match="jpeg quality"):
            jpeg(plain(RED), quality)  # type: ignore[arg-type]
    with pytest.raises(EditNotApplicableError, match="65501x1"):
        jpeg(plain(RED, 65_501, 1), 50)


def test_a_comment_of_the_original_file_does_not_matter() -> None:
    image = plain(RED)
    image.info["comment"] = b"x" * 100_000  # more than a JPEG can hold
    assert jpeg(image, 50).tobytes() == jpeg(plain(RED), 50).tobytes()


def test_palette_has_at_most_that_many_colors(photograph: Image.Image) -> None:
    for colors in (2, 7, 16):
        few = convert_color(photograph, colors)
        assert few.mode == "RGB"
        assert len(np.unique(array(few).reshape(-1, 3), axis=0)) <= colors


def test_edges_are_enhanced_and_flat_regions_kept() -> None:
    grey, light = (100, 100, 100), (120, 120, 120)
    image = image_of([[grey] * 5 + [light] * 5] * 5)
    row = [pixel[0] for pixel in pixels(enhance_edges(image))[2]]
    assert row[1:4] == [100] * 3
    assert row[4] < 100 < 120 < row[5]
    assert row[6:9] == [120] * 3


def test_pixelization_makes_blocks() -> None:
    image = image_of([[BLACK, WHITE, RED, RED], [WHITE, BLACK, RED, RED]])
    blocks = pixels(pixelization(image, 0.5))
    assert blocks[0] == blocks[1]
    assert blocks[0][0] == blocks[0][1]
    assert blocks[0][2] == blocks[0][3]


def test_pixelization_keeps_the_size(wide_photograph: Image.Image) -> None:
    edited = pixelization(wide_photograph, 0.2)
    assert edited.size == (451, 300)
    assert len(np.unique(array(edited).reshape(-1, 3), axis=0)) <= 90 * 60


def test_shuffling_permutes_that_share(generator: np.random.Generator) -> None:
    image = noise(100, 100)
    shuffled = shuffle_pixels(image, 0.2, generator)
    before, after = array(image).reshape(-1, 3), array(shuffled).reshape(-1, 3)
    moved = (before != after).any(axis=1).mean()
    assert 0.19 < moved <= 0.2
    assert sorted(before.tolist()) == sorted(after.tolist())


def test_one_pixel_cannot_be_shuffled(generator: np.random.Generator) -> None:
    with pytest.raises(EditNotApplicableError, match="1x1"):
        shuffle_pixels(plain(RED, 1, 1), 0.3, generator)
