import numpy as np
import pytest
from PIL import Image, ImageOps

from activeindex.edits.composition import random_composition
from activeindex.edits.edited import edit_generator
from activeindex.edits.lists import FIXED_LIST, LONG_LIST, OFFERED
from activeindex.edits.named import Edit, as_edit, edit_by_name
from activeindex.edits.warps import rotate
from activeindex.errors import InputError

from .images import RED, noise, plain


@pytest.mark.parametrize("edit", [*FIXED_LIST, *OFFERED, *LONG_LIST[::7]], ids=str)
def test_every_listed_edit_answers_for_a_photograph_and_for_a_pixel(
    edit: Edit, wide_photograph: Image.Image
) -> None:
    for image in (wide_photograph, noise(1, 1)):
        edited = edit(image, edit_generator(0, 0))
        assert (edited.name, edited.parameter) == (edit.name, edit.parameter)
        assert edited.image.mode == "RGB"
        assert min(edited.image.size) >= 1


def test_none_gives_the_image_back(photograph: Image.Image) -> None:
    edited = Edit("none")(photograph, edit_generator(0, 0))
    assert edited.image.tobytes() == photograph.tobytes()
    assert (edited.applied, edited.skipped, edited.label) == ((), (), "none")


def test_an_edit_applies_its_function(photograph: Image.Image) -> None:
    edited = Edit("rotation", 25)(photograph, edit_generator(0, 0))
    assert edited.image.tobytes() == rotate(photograph, 25).tobytes()
    assert edited.applied == ("rotation",)
    assert edited.label == "rotation"


def test_auto_is_the_random_composition(photograph: Image.Image) -> None:
    edited = Edit("auto")(photograph, edit_generator(3, 1))
    composed = random_composition(photograph, edit_generator(3, 1))
    assert edited.image.tobytes() == composed.image.tobytes()
    assert edited.applied == composed.applied


def test_only_auto_draws_from_the_generator(photograph: Image.Image) -> None:
    for edit in (*FIXED_LIST, *OFFERED):
        generator = edit_generator(0, 0)
        edit(photograph, generator)
        untouched = generator.bit_generator.state == edit_generator(0, 0).bit_generator.state
        assert untouched == (edit.name != "auto")


def test_an_edit_that_cannot_apply_leaves_the_image_and_says_so() -> None:
    image = noise(12, 40)  # narrower than the margins of the text
    edited = Edit("meme_format")(image, edit_generator(0, 0))
    assert edited.image.tobytes() == image.tobytes()
    assert (edited.applied, edited.skipped) == ((), ("meme_format",))
    assert edited.label == "meme_format (skipped meme_format)"


def test_refuses_unknown_names_and_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"expected one of none, auto, .*brightness, found swirl"):
        edit_by_name("swirl")


def test_refuses_missing_superfluous_and_impossible_parameters() -> None:
    with pytest.raises(InputError, match="edit jpeg: expected a parameter, found none"):
        edit_by_name("jpeg")
    with pytest.raises(InputError, match="edit hflip: takes no parameter, found 2"):
        edit_by_name("hflip", 2)
    with pytest.raises(InputError, match="expected an odd number, found 10"):
        edit_by_name("blur", 10)
    with pytest.raises(InputError, match="jpeg quality"):
        edit_by_name("jpeg", 49.5)


def test_whole_numbers_may_come_as_floats() -> None:
    assert edit_by_name("blur", 11.0) == Edit("blur", 11)
    assert isinstance(edit_by_name("jpeg", 50.0).parameter, int)


def test_refuses_other_modes_whatever_the_edit() -> None:
    for edit in (*FIXED_LIST, *OFFERED):
        with pytest.raises(InputError, match="expected mode RGB, found L"):
            edit(Image.new("L", (64, 64)), edit_generator(0, 0))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="expected at least 1x1 pixels, found 0x5"):
        Edit("none")(plain(RED, 0, 5), edit_generator(0, 0))


def invert(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return ImageOps.invert(image)


def test_a_function_is_an_edit_under_its_own_name(photograph: Image.Image) -> None:
    edited = as_edit(invert)(photograph, np.random.default_rng(0))
    assert (edited.label, edited.applied) == ("invert", ("invert",))
    assert np.array_equal(255 - np.asarray(edited.image), np.asarray(photograph))


def test_a_function_that_returns_no_rgb_image_is_refused_by_name(photograph: Image.Image) -> None:
    grey = Edit("grey", function=lambda image, generator: image.convert("L"))
    with pytest.raises(InputError, match=r"^edit grey: expected an RGB image back, found L$"):
        grey(photograph, np.random.default_rng(0))


def test_edits_are_written_as_in_tables() -> None:
    assert as_edit("jpeg 50") == Edit("jpeg", 50)
    assert as_edit("center_crop 0.5") == Edit("center_crop", 0.5)
    assert as_edit("hflip") == as_edit(Edit("hflip")) == Edit("hflip")
    with pytest.raises(InputError, match=r"^edit jpeg: expected a number after it, found 'low'$"):
        as_edit("jpeg low")
