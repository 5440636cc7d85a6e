"""Pictures: pixels with the opacity and metadata that a released file keeps."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from activeindex.images.decoding import (
    has_grey_depth,
    on_white,
    opened,
    to_rgb,
    upright,
)
from activeindex.images.exif import upright_exif
from activeindex.images.levels import Pixels

Alpha = npt.NDArray[np.uint8]
"""Opacity ``(H, W)``: 0 is transparent, 255 opaque."""

_ONE_CHANNEL = frozenset({"1", "L", "LA", "La"})
_COLOUR_SPACE = slice(16, 20)
"""Bytes of an ICC profile that name its colour space (ICC.1:2022, 7.2)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file's contents, upright and with 8 bits per channel.

    Attributes:
        layer: Colours ``(H, W, 3)``, those of transparent pixels included.
        alpha: Opacity ``(H, W)``; None where everything is opaque.
        grey: Whether the picture has no colours, and may get none.
        one_channel: Whether its file stores one channel; then it is grey.
        exif: EXIF block for the upright pixels, without prefix; empty if there is none.
        icc: ICC profile; empty if there is none.
    """

    layer: Pixels
    alpha: Alpha | None = None
    grey: bool = False
    one_channel: bool = False
    exif: bytes = b""
    icc: bytes = b""

    @cached_property
    def pixels(self) -> Pixels:
        """Visible pixels ``(H, W, 3)``, transparency composed on white."""
        return self.seen(self.layer)

    @property
    def area(self) -> int:
        """Number of pixels."""
        height, width = self.layer.shape[:2]
        return int(height * width)

    def seen(self, layer: Pixels) -> Pixels:
        """Compose colours ``(H, W, 3)`` on white with this picture's opacity."""
        if self.alpha is None:
            return layer
        return np.asarray(on_white(Image.fromarray(np.dstack([layer, self.alpha]))))

    @property
    def has_transparency(self) -> bool:
        """True if any pixel is not fully opaque."""
        return self.alpha is not None and bool(self.alpha.min() < 255)

    def without_alpha(self) -> "Picture":
        """The same picture composed on white."""
        return replace(self, layer=self.pixels, alpha=None)


def read_picture(path: Path) -> Picture:
    """Read an image file with its opacity, EXIF and ICC profile.

    A profile for another colour space than the pixels have here (CMYK) is left out.

    Raises:
        UnreadableImageError: If the file cannot be decoded; see
            :func:`~activeindex.images.decoding.read_rgb`.
    """
    with opened(path) as image:
        return picture_of(image)


def picture_of(image: Image.Image) -> Picture:
    """The picture of a loaded Pillow image of any mode; see :func:`read_picture`."""
    exif, icc = upright_exif(image), image.info.get("icc_profile") or b""
    turned = upright(image)
    alpha: Alpha | None = None
    if turned.has_transparency_data and not has_grey_depth(turned):
        with_alpha = np.asarray(turned.convert("RGBA"))
        layer, alpha = np.ascontiguousarray(with_alpha[..., :3]), with_alpha[..., 3].copy()
    else:
        layer = np.asarray(to_rgb(turned))
    one_channel = turned.mode in _ONE_CHANNEL or has_grey_depth(turned)
    if icc[_COLOUR_SPACE] != (b"GRAY" if one_channel else b"RGB "):
        icc = b""
    return Picture(layer, alpha, _is_grey(layer), one_channel, exif, icc)


def _is_grey(layer: Pixels) -> bool:
    red, green, blue = (layer[..., channel] for channel in range(3))
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))
