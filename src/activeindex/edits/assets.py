"""Fonts, emoji and screenshot templates of the package ``augly``.

Only its files are used. The package is located, never imported: its code no longer runs on
today's Pillow and would unpickle the character lists lying beside the fonts.
"""

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from activeindex.errors import InputError, MissingExtraError

MEME_FONT = "Raleway-ExtraBold.ttf"
"""The font in which AugLy 1.0.0 writes on memes."""
DEFAULT_EMOJI = "smileys/smiling_face_with_heart_eyes.png"
"""The emoji that AugLy 1.0.0 overlays unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ScreenshotTemplate:
    """A screenshot of a social network and the place of its picture.

    Attributes:
        size: Width and height in pixels.
        pixels: The RGB bytes, row by row (immutable, so that they can be cached).
        box: Left, upper, right and lower edge of the picture in pixels.
    """

    size: tuple[int, int]
    pixels: bytes
    box: tuple[int, int, int, int]

    @property
    def box_size(self) -> tuple[int, int]:
        """Width and height of the picture's place in pixels."""
        left, upper, right, lower = self.box
        return right - left, lower - upper

    def image(self) -> Image.Image:
        """A fresh RGB image of the template."""
        return Image.frombytes("RGB", self.size, self.pixels)


@functools.cache
def assets_folder() -> Path:
    """The folder of assets in the installed package.

    Raises:
        MissingExtraError: ``augly`` is not installed.
        InputError: It is, but without the folder.
    """
    # For a top-level name this only asks the finders; nothing of the package runs.
    spec = importlib.util.find_spec("augly")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("augly", "edits", "editing with fonts, emoji and screenshots")
    folder = Path(spec.submodule_search_locations[0]) / "assets"
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the assets of augly 1.0.0, found no such folder")
    return folder


@functools.cache
def fonts() -> tuple[Path, ...]:
    """All TrueType fonts, sorted by name.

    Raises:
        MissingExtraError: ``augly`` is not installed.
    """
    return _files("fonts", "*.ttf")


@functools.cache
def emojis() -> tuple[Path, ...]:
    """All emoji (PNG), sorted by folder and name.

    Raises:
        MissingExtraError: ``augly`` is not installed.
    """
    return _files("twemojis", "*/*.png")


@functools.cache
def screenshot_templates() -> tuple[str, ...]:
    """The names of the screenshot templates, sorted: mobile and web.

    Raises:
        MissingExtraError: ``augly`` is not installed.
    """
    return tuple(path.stem for path in _files("screenshot_templates", "*.png"))


@functools.cache
def screenshot_template(name: str) -> ScreenshotTemplate:
    """Read a screenshot template.

    Args:
        name: One of :func:`screenshot_templates`.

    Raises:
        MissingExtraError: ``augly`` is not installed.
        InputError: There is no such template.
    """
    if name not in screenshot_templates():
        known = ", ".join(screenshot_templates())
        raise InputError(f"screenshot template: expected one of {known}, found {name}")
    folder = assets_folder() / "screenshot_templates"
    boxes = json.loads((folder / "bboxes.json").read_text(encoding="utf-8"))
    left, upper, right, lower = (int(edge) for edge in boxes[f"{name}.png"])
    with Image.open(folder / f"{name}.png") as picture:
        rgb = picture.convert("RGB")
    return ScreenshotTemplate(rgb.size, rgb.tobytes(), (left, upper, right, lower))


def _files(folder: str, pattern: str) -> tuple[Path, ...]:
    # Sorted, so that the same draw finds the same file on every file system.
    found = tuple(sorted((assets_folder() / folder).glob(pattern)))
    if not found:
        raise InputError(
            f"{assets_folder() / folder}: expected the files {pattern} of augly 1.0.0, found none"
        )
    return found
