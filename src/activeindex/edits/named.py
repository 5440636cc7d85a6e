"""Edits by name, and edits of your own.

A named edit is a function ``(image)`` or ``(image, parameter)`` of a module of this room; an edit
of your own is a function ``(image, generator)``. Tables and the command line give parameters as
floats: :func:`edit_by_name` lists the names whose parameter is a whole number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from activeindex.edits.blurs import gaussian_blur
from activeindex.edits.checks import EditNotApplicableError, require_rgb
from activeindex.edits.composition import AUTO, random_composition
from activeindex.edits.edited import EditedImage
from activeindex.edits.families import RandomEdit
from activeindex.edits.geometric import center_crop, hflip, resize, vflip
from activeindex.edits.overlays import overlay_emoji, overlay_onto_screenshot
from activeindex.edits.photometric import (
    adjust_brightness,
    adjust_contrast,
    grayscale,
    shift_hue,
)
from activeindex.edits.pixels import jpeg
from activeindex.edits.texts import meme_format
from activeindex.edits.warps import rotate
from activeindex.errors import InputError

NONE = "none"

_PLAIN: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "meme_format": meme_format,
    "overlay_onto_screenshot": overlay_onto_screenshot,
    "grayscale": grayscale,
    "hflip": hflip,
    "vflip": vflip,
    "overlay_emoji": overlay_emoji,
}
_WITH_PARAMETER: Mapping[str, Callable[[Image.Image, Any], Image.Image]] = {
    "rotation": rotate,
    "center_crop": center_crop,
    "resize": resize,
    "blur": gaussian_blur,
    "jpeg": jpeg,
    "hue": shift_hue,
    "contrast": adjust_contrast,
    "brightness": adjust_brightness,
}
EDIT_NAMES: tuple[str, ...] = (NONE, AUTO, *_PLAIN, *_WITH_PARAMETER)
"""The names of the edits of this room."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit with its parameter, ready to be applied to any image.

    Attributes:
        name: One of :data:`EDIT_NAMES`, or any name for a function of your own.
        parameter: Degrees (rotation), kept share of the area (center_crop, resize), kernel size
            (blur), quality (jpeg), fraction of the circle (hue) or factor (contrast,
            brightness); None for all others.
        function: An edit of your own: maps an RGB image and the image's random generator to an
            RGB image. It raises :class:`EditNotApplicableError` for images that it cannot edit.

    Raises:
        InputError: There is no such edit, or it does not take this parameter.

    Example:
        >>> import numpy as np
        >>> from PIL import Image, ImageOps
        >>> image = Image.new("RGB", (64, 48))
        >>> Edit("center_crop", 0.25)(image, np.random.default_rng(0)).image.size
        (32, 24)
        >>> solarize = Edit("solarize", function=lambda image, generator: ImageOps.solarize(image))
        >>> solarize(image, np.random.default_rng(0)).label
        'solarize'
    """

    name: str
    parameter: float | int | None = None
    function: RandomEdit | None = None

    def __post_init__(self) -> None:
        if self.function is not None:
            return
        if self.name not in EDIT_NAMES:
            raise InputError(f"edit: expected one of {', '.join(EDIT_NAMES)}, found {self.name}")
        if self.name not in _WITH_PARAMETER:
            if self.parameter is not None:
                raise InputError(f"edit {self.name}: takes no parameter, found {self.parameter}")
            return
        if self.parameter is None:
            raise InputError(f"edit {self.name}: expected a parameter, found none")
        # The functions check their ranges; one pixel asks them now rather than hours into a run.
        self._apply(Image.new("RGB", (1, 1)), np.random.default_rng(0))

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name} {self.parameter}"

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> EditedImage:
        """Apply the edit.

        Args:
            image: RGB, any size; it is not changed.
            generator: Of this image; only ``auto`` and functions of your own draw from it.

        Returns:
            The edited image. Where the edit cannot apply, the image as it was, with the edit
            among those skipped.

        Raises:
            InputError: The image is not RGB.
            MissingExtraError: The edit needs files of a package that is not installed.
        """
        if self.name == AUTO and self.function is None:
            return random_composition(image, generator)
        try:
            edited = self._apply(image, generator)
        except EditNotApplicableError:
            return EditedImage(image, self.name, self.parameter, skipped=(self.name,))
        applied = () if self.name == NONE else (self.name,)
        return EditedImage(edited, self.name, self.parameter, applied)

    def _apply(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        require_rgb(image)
        if self.function is not None:
            edited = self.function(image, generator)
            if not isinstance(edited, Image.Image) or edited.mode != "RGB":
                found = getattr(edited, "mode", type(edited).__name__)
                raise InputError(f"edit {self.name}: expected an RGB image back, found {found}")
            return edited
        if self.name in _PLAIN:
            return _PLAIN[self.name](image)
        if self.name in _WITH_PARAMETER:
            return _WITH_PARAMETER[self.name](image, self.parameter)
        return image


def as_edit(edit: Edit | str | RandomEdit) -> Edit:
    """Make an :class:`Edit` of a name, of a name with a parameter, or of a function.

    Args:
        edit: ``"hflip"``, ``"jpeg 50"``, a function ``(image, generator) -> image``, or an edit.

    Raises:
        InputError: There is no such edit, or it does not take this parameter.

    Example:
        >>> as_edit("jpeg 50")
        Edit(name='jpeg', parameter=50, function=None)
    """
    if isinstance(edit, Edit):
        return edit
    if callable(edit):
        return Edit(getattr(edit, "__qualname__", type(edit).__name__), function=edit)
    name, _, parameter = edit.strip().partition(" ")
    try:
        return edit_by_name(name, float(parameter) if parameter else None)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"edit {name}: expected a number after it, found {parameter!r}") from None


def edit_by_name(name: str, parameter: float | int | None = None) -> Edit:
    """Make the edit of a name.

    Args:
        name: One of :data:`EDIT_NAMES`.
        parameter: As for :class:`Edit`. A whole number may come as a float, as it does
            from a CSV file and from :func:`as_edit`.

    Raises:
        InputError: There is no such edit, or it does not take this parameter.
    """
    if name in ("blur", "jpeg") and isinstance(parameter, float) and parameter.is_integer():
        parameter = int(parameter)
    return Edit(name, parameter)
