"""The picture of one copy: original, activated, difference, edited copy."""

from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.demo.picture import draw_copy
from activeindex.images.levels import Pixels
from activeindex.report.gallery import amplified_difference


def test_difference_is_ten_times_the_change_of_each_channel() -> None:
    original = np.full((40, 40, 3), 100, dtype=np.uint8)
    activated = original.copy()
    activated[:20] += np.array([3, 0, 12], dtype=np.uint8)
    activated[20:] -= np.array([3, 1, 13], dtype=np.uint8)
    difference = np.empty_like(original)
    difference[:20] = (158, 128, 248)
    difference[20:] = (98, 118, 0)
    assert np.array_equal(amplified_difference(original, activated), difference)


def test_changes_beyond_the_range_are_clipped_not_wrapped() -> None:
    original = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert (amplified_difference(original, original + np.uint8(50)) == 255).all()
    assert (amplified_difference(original, original - np.uint8(50)) == 0).all()


def test_four_pictures_of_one_width_stand_on_one_line(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    original = photographs["chelsea"][:200, :300]
    paths = [tmp_path / name for name in ("original.png", "activated.png", "copy.png")]
    for path, pixels in zip(paths, (original, original + 1, original[:, :100]), strict=True):
        Image.fromarray(pixels).save(path)
    original_path, activated_path, copy_path = paths
    drawn = draw_copy(original_path, activated_path, copy_path, ("center_crop", 0.5), "found")
    sheet = np.asarray(drawn)
    assert sheet.shape == (600 + 46, 4 * 300 + 3 * 8, 3), "the copy is the tallest"
    assert np.array_equal(sheet[400:600, :300], original)
    assert (sheet[:400, :300] == 255).all()
