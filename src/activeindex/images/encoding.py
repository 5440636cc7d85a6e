"""From pixels to a file."""

from pathlib import Path

from PIL import Image

from activeindex.images.decoding import Pixels
from activeindex.running.files import whole_file


def write_png(path: Path, pixels: Pixels) -> None:
    """Writes 8-bit RGB pixels ``(H, W, 3)`` as PNG, whole or not at all."""
    with whole_file(path) as beside:
        # Level 1: a third of the default's time for about a tenth more bytes on photographs.
        Image.fromarray(pixels).save(beside, format="PNG", compress_level=1)
