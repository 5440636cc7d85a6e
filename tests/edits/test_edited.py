import pytest

from activeindex.edits.edited import EditedImage, edit_generator
from activeindex.errors import InputError

from .images import RED, plain


def edited(name: str, applied: tuple[str, ...] = (), skipped: tuple[str, ...] = ()) -> EditedImage:
    return EditedImage(plain(RED), name, None, applied, skipped)


def test_labels_without_anything_skipped() -> None:
    assert edited("none").label == edited("none").full_label == "none"
    assert edited("rotation", ("rotation",)).label == "rotation"
    assert edited("rotation", ("rotation",)).full_label == "rotation"
    assert edited("auto", ("crop", "blur", "hflip")).label == "auto"
    assert edited("auto", ("crop", "blur", "hflip")).full_label == "auto (crop+blur+hflip)"


def test_labels_say_what_was_skipped() -> None:
    both = edited("auto", ("crop", "blur"), ("overlay_text", "overlay_emoji"))
    assert both.label == "auto (skipped overlay_text+overlay_emoji)"
    assert both.full_label == "auto (crop+blur; skipped overlay_text+overlay_emoji)"
    assert edited("auto", (), ("crop",)).full_label == "auto (skipped crop)"
    assert edited("meme_format", (), ("meme_format",)).label == "meme_format (skipped meme_format)"


def test_each_image_has_its_own_repeatable_generator() -> None:
    draws = {
        (seed, number): tuple(edit_generator(seed, number).integers(10**9, size=3))
        for seed in range(4)
        for number in range(4)
    }
    assert len(set(draws.values())) == 16
    assert draws[2, 3] == tuple(edit_generator(2, 3).integers(10**9, size=3))


def test_refuses_negative_numbers() -> None:
    with pytest.raises(InputError, match="image number: expected 0 or more, found -1"):
        edit_generator(0, -1)
    with pytest.raises(InputError, match="seed"):
        edit_generator(-1, 0)
