"""Images: from files of any kind to float tensors ``(3, H, W)`` in [0, 1], and back to files.

The first room on the path of an image. Everything after it sees RGB tensors in [0, 1]; nothing
here knows about extractors or indexes.
"""

from activeindex.images.decoding import (
    MINIMUM_SIDE,
    Pixels,
    read_image,
    read_rgb,
    to_pixels,
    to_tensor,
)
from activeindex.images.encoding import write_png
from activeindex.images.folder import EXTENSIONS, fingerprint, list_images
from activeindex.images.quality import Quality, measure_quality
from activeindex.images.resizing import resize_square

__all__ = [
    "EXTENSIONS",
    "MINIMUM_SIDE",
    "Pixels",
    "Quality",
    "fingerprint",
    "list_images",
    "measure_quality",
    "read_image",
    "read_rgb",
    "resize_square",
    "to_pixels",
    "to_tensor",
    "write_png",
]
