"""Images: from files of any kind to float tensors ``(3, H, W)`` in [0, 1], and back to files.

The first room on the path of an image. Everything after it sees RGB tensors in [0, 1]; nothing
here knows about extractors or indexes.
"""

from activeindex.images.decoding import (
    MINIMUM_SIDE,
    read_image,
    read_rgb,
)
from activeindex.images.encoding import (
    FORMATS,
    PNG,
    FileFormat,
    FormatName,
    check_encodable,
    decode,
    encode,
    write_bytes,
    write_png,
)
from activeindex.images.folder import (
    EXTENSIONS,
    OTHER_IMAGES,
    check_outside,
    fingerprint,
    list_images,
    other_files,
)
from activeindex.images.levels import (
    Pixels,
    from_levels,
    stack_levels,
    to_levels,
    to_pixels,
    to_tensor,
)
from activeindex.images.picture import Picture, read_picture
from activeindex.images.quality import (
    Quality,
    largest_changes,
    measure_qualities,
    measure_quality,
    psnr,
    psnrs,
    similarities,
    ssim,
    ssims,
)
from activeindex.images.resizing import resize_square, to_square

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MINIMUM_SIDE",
    "OTHER_IMAGES",
    "PNG",
    "FileFormat",
    "FormatName",
    "Picture",
    "Pixels",
    "Quality",
    "check_encodable",
    "check_outside",
    "decode",
    "encode",
    "fingerprint",
    "from_levels",
    "largest_changes",
    "list_images",
    "measure_qualities",
    "measure_quality",
    "other_files",
    "psnr",
    "psnrs",
    "read_image",
    "read_picture",
    "read_rgb",
    "resize_square",
    "similarities",
    "ssim",
    "ssims",
    "stack_levels",
    "to_levels",
    "to_pixels",
    "to_square",
    "to_tensor",
    "write_bytes",
    "write_png",
]
