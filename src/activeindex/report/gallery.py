"""The images that activation changed most: original, activated, difference and mask at 1:1."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from activeindex.images.levels import Pixels
from activeindex.report.pictures import Embedded, Pictures, embed, embedded_thumbnail, pixels_of

AMPLIFICATION = 10

_LONGEST = 544
"""Longest side at 1:1; of a larger image the part that changed most is shown."""
_THUMBNAIL = 112
_MOST_THUMBNAILS = 200
_MASK_GAIN = 8


@dataclass(frozen=True)
class GalleryImage:
    """One activated image at 1:1.

    Attributes:
        run: Name of its run.
        name: Name of the original file.
        record: Its line of ``activation.jsonl``.
        part: The part of a large image that is shown, in words; None for the whole.
        original: Lossless.
        activated: Lossless.
        difference: Amplified around grey.
        mask: The just-noticeable-difference map; None where the run did not use it.
    """

    run: str
    name: str
    record: dict[str, Any]
    part: str | None
    original: Embedded
    activated: Embedded
    difference: Embedded
    mask: Embedded | None

    @property
    def size(self) -> int:
        """Number of characters in the page."""
        shown = (self.original, self.activated, self.difference, self.mask)
        return sum(len(picture.uri) for picture in shown if picture is not None)


@dataclass(frozen=True)
class Thumbnail:
    """One activated image as a thumbnail."""

    run: str
    name: str
    psnr: float
    picture: Embedded


@dataclass(frozen=True)
class Gallery:
    """The images of all active runs.

    Attributes:
        comparisons: Images at 1:1, the worst PSNR first.
        thumbnails: Others, likewise.
        left_out: Number of images in neither.
    """

    comparisons: tuple[GalleryImage, ...]
    thumbnails: tuple[Thumbnail, ...]
    left_out: int


def amplified_difference(original: Pixels, activated: Pixels) -> Pixels:
    """The change of every pixel, amplified ``AMPLIFICATION`` times around middle grey."""
    change = activated.astype(np.int16) - original.astype(np.int16)
    shown: Pixels = np.clip(128 + AMPLIFICATION * change, 0, 255).astype(np.uint8)
    return shown


def make_gallery(pictures: Iterable[Pictures], most: int, budget: int) -> Gallery:
    """Collect the images, those with the worst PSNR first.

    Args:
        pictures: The pictures of every run.
        most: Number of images at 1:1, fewer if they do not fit into the budget.
        budget: Number of characters that the images at 1:1 may take together.
    """
    changed = [
        (float(record["psnr"]), source.run.place, int(record["image"]), source, record)
        for source in pictures
        for record in source.run.records
    ]
    changed.sort(key=lambda item: item[:3])
    comparisons: list[GalleryImage] = []
    thumbnails: list[Thumbnail] = []
    used = 0
    for psnr, _, number, source, record in changed:
        if len(comparisons) < most and used < budget:
            comparison = _compare(source, number, record)
            if comparison is not None and used + comparison.size <= budget:
                comparisons.append(comparison)
                used += comparison.size
                continue
            if comparison is not None:
                used = budget  # A smaller one that is changed less would stand before it.
        if len(thumbnails) == _MOST_THUMBNAILS:
            break
        small = embedded_thumbnail(source.released(number), _THUMBNAIL, quality=70)
        if small is not None:
            thumbnails.append(Thumbnail(source.run.name, _name(record), psnr, small))
    left_out = len(changed) - len(comparisons) - len(thumbnails)
    return Gallery(tuple(comparisons), tuple(thumbnails), left_out)


def _compare(source: Pictures, number: int, record: dict[str, Any]) -> GalleryImage | None:
    original, activated = pixels_of(source.original(number)), pixels_of(source.released(number))
    if original is None or activated is None or original.shape != activated.shape:
        return None
    top, left = _most_changed(original, activated)
    window = np.s_[top : top + _LONGEST, left : left + _LONGEST]
    height, width = original.shape[:2]
    shown = original[window].shape
    part = None
    if shown[:2] != (height, width):
        part = f"the part of {shown[1]} × {shown[0]} of {width} × {height} px that changed most"
    difference = amplified_difference(original[window], activated[window])
    masked = record.get("settings", {}).get("use_attenuation", True)
    return GalleryImage(
        source.run.name,
        _name(record),
        record,
        part,
        embed(Image.fromarray(original[window]), lossless=True),
        embed(Image.fromarray(activated[window]), lossless=True),
        embed(Image.fromarray(difference), quality=80),
        embed(Image.fromarray(_mask(original)[window]), quality=80) if masked else None,
    )


def _most_changed(original: Pixels, activated: Pixels) -> tuple[int, int]:
    """Top and left of the window of ``_LONGEST`` that holds the largest squared change."""
    change = np.square(activated.astype(np.float64) - original).sum(axis=2)
    total = np.zeros((change.shape[0] + 1, change.shape[1] + 1))
    total[1:, 1:] = change.cumsum(axis=0).cumsum(axis=1)
    high, wide = (min(_LONGEST, side) for side in change.shape)
    sums = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left)


def _mask(original: Pixels) -> npt.NDArray[np.uint8]:
    """The JND map, brighter where more may change."""
    from activeindex.activation.perceptual import jnd_map
    from activeindex.images.levels import to_tensor

    levels = jnd_map(to_tensor(original).unsqueeze(0))[0, 0].numpy() * 255 * _MASK_GAIN
    shown: npt.NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return shown


def _name(record: dict[str, Any]) -> str:
    return str(record.get("name", f"image {record['image']}"))


AMPLIFIED = AMPLIFICATION, _MASK_GAIN
"""Amplification of the difference and of the mask."""
