"""The random composition of one to four edits, called ``auto``.

It imitates a copier who hides a copy: every query of a copy-detection experiment is one such
composition.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from activeindex.edits.checks import EditNotApplicableError, require_rgb
from activeindex.edits.edited import EditedImage
from activeindex.edits.families import FAMILIES

AUTO = "auto"
"""The name of the composition among the edits."""

COUNT_PROBABILITIES = (0.1, 0.2, 0.3, 0.4)
"""Of 1, 2, 3 and 4 edits (the released evaluation of arXiv:2210.10620)."""

_FIRST = "crop"
_LAST = "convert_color"


def random_composition(image: Image.Image, generator: np.random.Generator) -> EditedImage:
    """Apply one to four random edits of distinct families.

    The number of edits has the probabilities :data:`COUNT_PROBABILITIES`; that many families are
    drawn without replacement and one edit uniformly in each. The edits follow in the order in
    which their families were drawn, except that a crop comes first and a conversion to a palette
    last. An edit that cannot apply to this image is recorded as skipped, and another of its
    family is drawn in its place, as long as there is one.

    Args:
        image: RGB, any size; it is not changed.
        generator: The only source of randomness; see
            :func:`~activeindex.edits.edited.edit_generator`.

    Raises:
        InputError: The image is not RGB.
        MissingExtraError: An edit needs files of a package that is not installed.
    """
    require_rgb(image)
    applied: list[str] = []
    skipped: list[str] = []
    plan = draw_plan(generator)
    for place, (family, drawn) in enumerate(plan):
        name: str | None = drawn
        tried: set[str] = set()
        while name is not None:
            tried.add(name)
            try:
                image = FAMILIES[family][name](image, generator)
            except EditNotApplicableError:
                skipped.append(name)
            else:
                applied.append(name)
                break
            # The replacement keeps the order: a crop first, a conversion last.
            if place > 0:
                tried.add(_FIRST)
            if place < len(plan) - 1:
                tried.add(_LAST)
            name = _draw(sorted(set(FAMILIES[family]) - tried), generator)
    return EditedImage(image, AUTO, None, tuple(applied), tuple(skipped))


def draw_plan(generator: np.random.Generator) -> list[tuple[str, str]]:
    """Draw the families and edits of a composition.

    Returns:
        One to four pairs (family, edit), in the order in which they are to be applied.
    """
    count = int(generator.choice(len(COUNT_PROBABILITIES), p=COUNT_PROBABILITIES)) + 1
    names = list(FAMILIES)
    families = [names[i] for i in generator.permutation(len(names))[:count]]
    plan = []
    for family in families:
        edits = list(FAMILIES[family])
        plan.append((family, edits[int(generator.integers(len(edits)))]))
    # The sort is stable: 0 for the crop, 2 for the conversion, 1 for all between.
    return sorted(plan, key=lambda step: {_FIRST: 0, _LAST: 2}.get(step[1], 1))


def _draw(names: Sequence[str], generator: np.random.Generator) -> str | None:
    return names[int(generator.integers(len(names)))] if names else None
