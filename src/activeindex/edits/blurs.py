"""The two Gaussian blurs: by kernel size (fixed list) and by radius (random composition)."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from activeindex.edits.checks import require_between, require_integer, require_rgb
from activeindex.errors import InputError

_LARGEST_KERNEL = 999


def gaussian_kernel(kernel_size: int) -> npt.NDArray[np.float32]:
    """Sample a Gaussian at k whole steps and scale it to sum 1.

    Its standard deviation is 0.15 k + 0.35, as torchvision has it for a given kernel size.

    Args:
        kernel_size: Odd number k of samples, 1 to 999; 11 gives a deviation of 2 pixels.

    Returns:
        The weights, shape (k,).

    Raises:
        InputError: The size is even or outside.
    """
    require_integer("blur kernel size", kernel_size, 1, _LARGEST_KERNEL)
    if kernel_size % 2 == 0:
        raise InputError(f"blur kernel size: expected an odd number, found {kernel_size}")
    sigma = 0.15 * kernel_size + 0.35
    radius = kernel_size // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel: npt.NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return kernel


def gaussian_blur(image: Image.Image, kernel_size: int) -> Image.Image:
    """Convolve with a sampled Gaussian of that size; borders are mirrored.

    Pillow's own blur approximates a Gaussian by box filters and takes no kernel size, hence the
    convolution here.

    Args:
        image: RGB, any size.
        kernel_size: Odd, 1 to 999 pixels; see :func:`gaussian_kernel`.

    Raises:
        InputError: The image is not RGB, or the size is even or outside.
    """
    require_rgb(image)
    kernel = gaussian_kernel(kernel_size)
    channels = []
    # One channel at a time: a third of the memory, and what is in use stays in the cache.
    for channel in image.split():
        values = np.asarray(channel, dtype=np.float32)
        # Both passes run along the rows' axis, on which slices are contiguous.
        blurred = _convolve_rows(_convolve_rows(values, kernel).T, kernel).T
        rounded = np.rint(blurred).clip(0, 255).astype(np.uint8)
        channels.append(Image.fromarray(np.ascontiguousarray(rounded)))
    return Image.merge("RGB", channels)


def blur(image: Image.Image, radius: float) -> Image.Image:
    """Blur as Pillow does.

    Args:
        image: RGB, any size.
        radius: Standard deviation in pixels, 0 and up.

    Raises:
        InputError: The image is not RGB, or the radius is negative.
    """
    require_rgb(image)
    require_between("blur radius", radius, 0)
    return image.filter(ImageFilter.GaussianBlur(radius))


def _convolve_rows(
    values: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Convolve (H, W) along H with a symmetric kernel, mirroring at the borders."""
    height, radius = len(values), len(kernel) // 2
    padded = np.pad(np.ascontiguousarray(values), ((radius, radius), (0, 0)), mode="reflect")
    result: npt.NDArray[np.float32] = padded[radius : radius + height] * kernel[radius]
    for step in range(1, radius + 1):
        before = padded[radius - step : radius - step + height]
        after = padded[radius + step : radius + step + height]
        result += kernel[radius + step] * (before + after)
    return result
