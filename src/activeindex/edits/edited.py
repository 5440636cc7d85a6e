"""The result of an edit, and the random generator of an image."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from activeindex.errors import InputError


@dataclass(frozen=True, slots=True)
class EditedImage:
    """An edited image, with the edits that were applied and skipped.

    Attributes:
        image: RGB, at least one pixel; the very image that came if nothing was applied.
        name: The edit, e.g. ``"rotation"`` or ``"auto"``.
        parameter: Its parameter, or None if it has none.
        applied: The edits that were applied, in that order.
        skipped: The edits that could not be applied to this image, in the order tried. A random
            composition puts another edit of the same family in their place where one applies.
    """

    image: Image.Image
    name: str
    parameter: float | int | None = None
    applied: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name, with what was skipped: ``"auto"``, ``"auto (skipped crop+overlay_text)"``."""
        return f"{self.name} ({self._skipped()})" if self.skipped else self.name

    @property
    def full_label(self) -> str:
        """As :attr:`label`, with the edits of a composition: ``"auto (crop+blur; skipped …)"``."""
        details = []
        if self.applied not in ((), (self.name,)):
            details.append("+".join(self.applied))
        if self.skipped:
            details.append(self._skipped())
        return f"{self.name} ({'; '.join(details)})" if details else self.name

    def _skipped(self) -> str:
        return f"skipped {'+'.join(self.skipped)}"


def edit_generator(seed: int, image_number: int) -> np.random.Generator:
    """Make the random generator of one image, independent of all other images.

    Args:
        seed: Of the experiment, 0 and up.
        image_number: Of the image in its set, 0 and up.

    Raises:
        InputError: One of them is negative.
    """
    for name, value in (("seed", seed), ("image number", image_number)):
        if value < 0:
            raise InputError(f"{name}: expected 0 or more, found {value}")
    return np.random.default_rng(np.random.SeedSequence([seed, image_number]))
