from activeindex.edits.lists import FIXED_LIST, LONG_LIST, OFFERED
from activeindex.edits.named import EDIT_NAMES


def values(name: str) -> list[float | int | None]:
    return [edit.parameter for edit in LONG_LIST if edit.name == name]


def test_the_fixed_list_is_that_of_the_published_table() -> None:
    assert [str(edit) for edit in FIXED_LIST] == [
        "none",
        "auto",
        "meme_format",
        "overlay_onto_screenshot",
        "rotation 25",
        "rotation 90",
        "center_crop 0.5",
        "resize 0.5",
        "blur 11",
        "jpeg 50",
        "hue 0.2",
        "contrast 0.5",
        "contrast 2.0",
        "brightness 0.5",
        "brightness 2.0",
    ]


def test_the_long_list_goes_over_the_ranges() -> None:
    assert values("rotation") == list(range(-90, 91, 10))
    tenths = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert values("center_crop") == values("resize") == tenths
    assert values("blur") == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29]
    assert values("jpeg") == list(range(10, 101, 10))
    factors = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
    assert values("contrast") == values("brightness") == factors
    assert values("hue") == [-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_every_name_can_be_asked_for_and_no_edit_comes_twice() -> None:
    assert {edit.name for edit in (*FIXED_LIST, *OFFERED)} == set(EDIT_NAMES)
    for edits in (FIXED_LIST, OFFERED, LONG_LIST):
        assert len(set(edits)) == len(edits)
