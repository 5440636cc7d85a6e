"""Lists of edits for evaluation."""

from activeindex.edits.composition import AUTO
from activeindex.edits.named import NONE, Edit


def _tenths(name: str, first: int, last: int) -> tuple[Edit, ...]:
    return tuple(Edit(name, tenth / 10) for tenth in range(first, last + 1))


FIXED_LIST: tuple[Edit, ...] = (
    Edit(NONE),
    Edit(AUTO),
    Edit("meme_format"),
    Edit("overlay_onto_screenshot"),
    Edit("rotation", 25),
    Edit("rotation", 90),
    Edit("center_crop", 0.5),
    Edit("resize", 0.5),
    Edit("blur", 11),
    Edit("jpeg", 50),
    Edit("hue", 0.2),
    Edit("contrast", 0.5),
    Edit("contrast", 2.0),
    Edit("brightness", 0.5),
    Edit("brightness", 2.0),
)
"""The edits of the published tables (Fernandez et al., ICLR 2023)."""

OFFERED: tuple[Edit, ...] = (
    Edit("grayscale"),
    Edit("hflip"),
    Edit("vflip"),
    Edit("overlay_emoji"),
)
"""Every other named edit, with a usual parameter; in no published table. No run uses this list."""

LONG_LIST: tuple[Edit, ...] = (
    *(Edit("rotation", degrees) for degrees in range(-90, 91, 10)),
    *_tenths("center_crop", 1, 10),
    *_tenths("resize", 1, 10),
    *(Edit("blur", kernel_size) for kernel_size in range(3, 30, 2)),
    *(Edit("jpeg", quality) for quality in range(10, 101, 10)),
    *_tenths("contrast", 5, 19),
    *_tenths("brightness", 5, 19),
    *_tenths("hue", -5, 5),
)
"""Each parametric edit over its range (``use_attacks_2``)."""
