from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.edits.composition import draw_plan, random_composition
from activeindex.edits.edited import edit_generator
from activeindex.edits.families import FAMILIES
from activeindex.errors import InputError

from .images import noise, random_images

FAMILY_OF = {edit: family for family, edits in FAMILIES.items() for edit in edits}
PLANS = [draw_plan(edit_generator(0, number)) for number in range(4000)]


def test_one_to_four_edits_with_probabilities_1_2_3_4_tenths() -> None:
    counts = Counter(len(plan) for plan in PLANS)
    for count, probability in zip((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4), strict=True):
        deviation = np.sqrt(probability * (1 - probability) / len(PLANS))
        assert abs(counts[count] / len(PLANS) - probability) < 4 * deviation


def test_families_are_distinct_and_equally_frequent() -> None:
    assert all(len({family for family, _ in plan}) == len(plan) for plan in PLANS)
    frequency = Counter(family for plan in PLANS for family, _ in plan)
    for family in FAMILIES:
        # Three edits of four families on average: each family is in 3/4 of the compositions.
        assert frequency[family] / len(PLANS) == pytest.approx(0.75, abs=0.03)


def test_edits_are_uniform_in_their_family() -> None:
    frequency = Counter(edit for plan in PLANS for _, edit in plan)
    for edit, family in FAMILY_OF.items():
        share = 0.75 / len(FAMILIES[family])
        assert frequency[edit] / len(PLANS) == pytest.approx(share, abs=0.03)


def test_a_crop_comes_first_and_a_palette_last() -> None:
    names = [[edit for _, edit in plan] for plan in PLANS]
    assert all(plan.index("crop") == 0 for plan in names if "crop" in plan)
    assert all(plan[-1] == "convert_color" for plan in names if "convert_color" in plan)
    # The others keep the order of their draw, so each comes first and last at times.
    for position in (0, -1):
        assert {"hflip", "blur", "grayscale", "overlay_emoji"} <= {p[position] for p in names}


def test_a_photograph_is_edited_as_planned(photograph: Image.Image) -> None:
    for number in range(12):
        edited = random_composition(photograph, edit_generator(5, number))
        plan = draw_plan(edit_generator(5, number))
        assert edited.applied == tuple(edit for _, edit in plan)
        assert edited.skipped == ()
        assert edited.label == "auto"
        assert edited.full_label == f"auto ({'+'.join(edited.applied)})"
        assert edited.image.mode == "RGB"


@settings(max_examples=80, deadline=None)
@given(random_images(), st.integers(0, 2**32), st.integers(0, 10**6))
def test_any_image_and_seed_give_an_image_that_repeats(
    image: Image.Image, seed: int, number: int
) -> None:
    before = image.tobytes()
    first = random_composition(image, edit_generator(seed, number))
    again = random_composition(image, edit_generator(seed, number))
    assert first.image.mode == "RGB"
    assert min(first.image.size) >= 1
    assert (first.image.size, first.image.tobytes()) == (again.image.size, again.image.tobytes())
    assert (first.applied, first.skipped) == (again.applied, again.skipped)
    families = [FAMILY_OF[edit] for edit in first.applied]
    assert len(set(families)) == len(families)
    assert image.tobytes() == before


def test_what_cannot_apply_is_replaced_within_its_family_and_recorded() -> None:
    tiny, replaced, dropped = noise(1, 1), 0, 0
    for number in range(300):
        edited = random_composition(tiny, edit_generator(0, number))
        planned = draw_plan(edit_generator(0, number))
        first_choices = {edit for _, edit in planned}
        # Nothing is swallowed: each planned edit is either applied or recorded.
        assert first_choices <= {*edited.applied, *edited.skipped}
        assert not set(edited.applied) & set(edited.skipped)
        assert edited.label == (
            f"auto (skipped {'+'.join(edited.skipped)})" if edited.skipped else "auto"
        )
        missing = {family for family, _ in planned} - {FAMILY_OF[e] for e in edited.applied}
        assert missing <= {"overlay"}  # its two edits may both fail on one pixel
        dropped += len(missing)
        replaced += len(set(edited.applied) - first_choices)
    assert replaced > 20
    assert dropped > 5


def test_a_replacement_keeps_the_order() -> None:
    # Too small for most perspectives, large enough for a crop in their place.
    for number in range(300):
        applied = random_composition(noise(6, 6), edit_generator(9, number)).applied
        assert "crop" not in applied[1:]
    for number in range(300):
        applied = random_composition(noise(1, 1), edit_generator(9, number)).applied
        assert "convert_color" not in applied[:-1]


def test_refuses_other_modes() -> None:
    with pytest.raises(InputError, match="expected mode RGB, found L"):
        random_composition(Image.new("L", (8, 8)), edit_generator(0, 0))
