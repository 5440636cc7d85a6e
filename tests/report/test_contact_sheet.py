"""The contact sheet: original, activated image and what changed, for the eye."""

import itertools

import numpy as np

from activeindex.images.levels import Pixels
from activeindex.report.contact_sheet import SheetRow, contact_sheet

GREY_OF_NO_CHANGE = 128


def places(sheet: Pixels, picture: Pixels) -> list[tuple[int, int]]:
    """Where the picture stands on the sheet, pixel for pixel: (top, left)."""
    height, width, _ = picture.shape
    found = []
    for top, left in np.argwhere((sheet == picture[0, 0]).all(axis=2)):
        part = sheet[top : top + height, left : left + width]
        if part.shape == picture.shape and np.array_equal(part, picture):
            found.append((int(top), int(left)))
    return found


def changed(original: Pixels, change: int) -> Pixels:
    levels: Pixels = np.clip(original.astype(np.int16) + change, 0, 255).astype(np.uint8)
    return levels


def sheet_of(*comparisons: SheetRow) -> Pixels:
    return np.asarray(contact_sheet(comparisons))


def test_original_activated_and_difference_stand_side_by_side(
    photographs: dict[str, Pixels],
) -> None:
    original = np.clip(photographs["chelsea"][:120, :160], 10, 245)
    activated = changed(original, 3)
    sheet = sheet_of(("chelsea", original, activated))
    assert sheet.ndim == 3
    ((top, left),) = places(sheet, original)
    ((activated_top, activated_left),) = places(sheet, activated)
    difference = np.full_like(original, GREY_OF_NO_CHANGE + 30)
    ((difference_top, difference_left),) = places(sheet, difference)
    assert top == activated_top == difference_top
    assert left + 160 <= activated_left
    assert activated_left + 160 <= difference_left


def test_difference_is_ten_times_the_change_of_each_channel() -> None:
    original = np.full((40, 40, 3), 100, dtype=np.uint8)
    activated = original.copy()
    activated[:20] += np.array([3, 0, 12], dtype=np.uint8)
    activated[20:] -= np.array([3, 1, 13], dtype=np.uint8)
    difference = np.empty_like(original)
    difference[:20] = (158, 128, 248)
    difference[20:] = (98, 118, 0)
    assert len(places(sheet_of(("plain", original, activated)), difference)) == 1


def test_changes_beyond_the_range_are_clipped_not_wrapped() -> None:
    original = np.full((40, 40, 3), 100, dtype=np.uint8)
    sheet = sheet_of(("far", original, changed(original, 50)))
    assert len(places(sheet, np.full_like(original, 255))) == 1


def test_every_image_has_a_row_and_rows_do_not_overlap(photographs: dict[str, Pixels]) -> None:
    shown = [photographs[name][:80, :100] for name in ("astronaut", "chelsea", "coffee")]
    sheet = sheet_of(*((str(n), picture, changed(picture, 1)) for n, picture in enumerate(shown)))
    tops = [places(sheet, picture)[0][0] for picture in shown]
    assert all(upper + 80 < lower for upper, lower in itertools.pairwise(tops))
    assert tops[-1] + 80 < len(sheet)


def test_large_and_tall_images_are_shrunk_to_fit_their_column(
    photographs: dict[str, Pixels],
) -> None:
    small = photographs["coffee"][:60, :60]
    width = sheet_of(("small", small, small)).shape[1]
    for picture in (photographs["china"], photographs["china"].transpose(1, 0, 2)):
        sheet = sheet_of(("large", picture, picture))
        assert sheet.shape[1] == width
        assert len(sheet) < width / 2
        assert (sheet == GREY_OF_NO_CHANGE).all(axis=2).mean() > 0.1
