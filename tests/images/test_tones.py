"""What a viewer shows is what is read and released, or one line refuses the file."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activeindex.errors import UnreadableImageError
from activeindex.images.coerce import as_pictures
from activeindex.images.decoding import read_pixels
from activeindex.images.encoding import encode
from activeindex.images.formats import PNG
from activeindex.images.picture import read_picture
from tests.images.samples import GREY, SAMPLES, Row

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


def rows() -> dict[Row, str]:
    """The rows of the table: what happens, by the columns before."""
    table = PAGE.read_text().partition("| what happens |")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {(cells[0], cells[1], cells[2], cells[3]): cells[4] for cells in lines}


def test_every_row_of_the_table_has_samples_and_says_what_is_refused() -> None:
    assert rows().keys() == SAMPLES.keys()
    for row, happens in rows().items():
        kinds = {sample.shown is None for sample in SAMPLES[row]()}
        assert ("refused" in happens) == (True in kinds), row
        assert happens.startswith("refused") == (kinds == {True}), row


@pytest.mark.parametrize("row", SAMPLES, ids="-".join)
def test_tones_are_read_and_released_as_a_viewer_shows_them(
    tmp_path: Path, row: Row, capfd: pytest.CaptureFixture[str]
) -> None:
    for sample in SAMPLES[row]():
        path = tmp_path / sample.name
        path.write_bytes(sample.data)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            if sample.shown is None:
                with pytest.raises(UnreadableImageError) as caught:
                    read_picture(path)
                assert str(caught.value).startswith(f"{path}: ")
                assert "\n" not in str(caught.value)
                continue
            picture = read_picture(path)
        shown = sample.shown if sample.shown.ndim == 3 else np.dstack([sample.shown] * 3)
        wrong = np.abs(picture.pixels - 255 * shown).max()
        assert wrong <= sample.tolerance, f"{sample.name}: wrong by {wrong:.1f} levels"
        assert np.array_equal(read_pixels(path), picture.pixels)
        (tmp_path / "released.png").write_bytes(encode(picture, picture.layer, PNG))
        assert np.array_equal(read_pixels(tmp_path / "released.png"), picture.pixels)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["key0-16.png", "rgbkey16.png", "key0-4.png", "alpha4-16.png"])
def test_pillow_images_are_read_like_their_files(tmp_path: Path, name: str) -> None:
    samples = {
        sample.name: sample for row in SAMPLES if row[0] == "PNG" for sample in SAMPLES[row]()
    }
    (tmp_path / name).write_bytes(samples[name].data)
    with Image.open(tmp_path / name) as image:
        found = as_pictures(image)[0].picture
    expected = read_picture(tmp_path / name)
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.one_channel == expected.one_channel


def test_pillow_images_in_memory_of_more_than_8_bits_are_scaled() -> None:
    for image in (
        Image.fromarray(GREY.astype(np.float32)),
        Image.fromarray(np.rint(GREY * 65535).astype(np.int32)),
        Image.fromarray(np.rint(GREY * 65535).astype(np.uint16)),
    ):
        assert np.abs(as_pictures(image)[0].picture.pixels[..., 0] - 255 * GREY).max() <= 0.51
    for values in (GREY * 255, GREY * 1e6 - 5):
        image = Image.fromarray(values.astype(np.float32))
        for one in (image, Image.fromarray((values * 1000).astype(np.int32))):
            with pytest.raises(
                UnreadableImageError, match=r"^image 0: expected .* white is not kn"
            ):
                as_pictures(one)
