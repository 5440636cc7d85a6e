"""What copiers do to images: the edits that turn a released image into a query.

In the path of an image this room comes after activation and before evaluation: an activated image
is written as an 8-bit file and released, a copier edits that copy, and evaluation asks whether the
edited copy is still found. So edits work on what a copier has, Pillow images of mode RGB and of any
size, and know nothing of features or indexes. Nothing here imports torch: worker processes that
edit images start light.

Three layers, each usable alone:

* pure functions on one image (:mod:`photometric`, :mod:`pixels`, :mod:`blurs`, :mod:`geometric`,
  :mod:`warps`, :mod:`texts`, :mod:`overlays`), which raise :class:`EditNotApplicableError` where an
  image gives them nothing to work on;
* :func:`random_composition`, which draws one to four of them (``auto``);
* :class:`Edit`, an edit by name with its parameter, and the lists of them. It answers with an
  :class:`EditedImage`, which says what was applied and what was skipped.

Random edits draw from the generator that they are given; :func:`edit_generator` makes the one of
an image, so that a result depends on neither batches nor workers. Fonts, emoji and screenshots are
files of the package ``augly`` (extra ``edits``), which is located but never imported.
"""

from activeindex.edits.blurs import blur, gaussian_blur
from activeindex.edits.checks import EditNotApplicableError
from activeindex.edits.composition import random_composition
from activeindex.edits.edited import EditedImage, edit_generator
from activeindex.edits.geometric import (
    center_crop,
    change_aspect_ratio,
    crop,
    hflip,
    pad_square,
    resize,
    vflip,
)
from activeindex.edits.lists import FIXED_LIST, LONG_LIST, OFFERED
from activeindex.edits.named import EDIT_NAMES, Edit, edit_by_name
from activeindex.edits.overlays import overlay_emoji, overlay_onto_screenshot
from activeindex.edits.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    grayscale,
    shift_hue,
)
from activeindex.edits.pixels import (
    convert_color,
    enhance_edges,
    jpeg,
    pixelization,
    shuffle_pixels,
)
from activeindex.edits.texts import meme_format, overlay_text
from activeindex.edits.warps import perspective_transform, rotate, rotate_and_crop

__all__ = [
    "EDIT_NAMES",
    "FIXED_LIST",
    "LONG_LIST",
    "OFFERED",
    "Edit",
    "EditNotApplicableError",
    "EditedImage",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_saturation",
    "blur",
    "center_crop",
    "change_aspect_ratio",
    "convert_color",
    "crop",
    "edit_by_name",
    "edit_generator",
    "enhance_edges",
    "gaussian_blur",
    "grayscale",
    "hflip",
    "jpeg",
    "meme_format",
    "overlay_emoji",
    "overlay_onto_screenshot",
    "overlay_text",
    "pad_square",
    "perspective_transform",
    "pixelization",
    "random_composition",
    "resize",
    "rotate",
    "rotate_and_crop",
    "shift_hue",
    "shuffle_pixels",
    "vflip",
]
