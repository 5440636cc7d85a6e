"""Perceptual constraints: the JND map, and how a free tensor becomes a distortion.

The just-noticeable-difference map says how much a pixel may change before anyone sees it: luminance
adaptation and contrast masking of Wu et al., "Enhanced just noticeable difference model for images
with pattern complexity", IEEE Transactions on Image Processing, 2017 (IEEE document 7885108), in
the form of Fernandez et al., "Active image indexing", ICLR 2023.

Two constraints are not the paper's, and the preset `paper` leaves them out. An even mask takes the
place of the map, which allows most in black areas and along edges, where it is seen. Coarse changes
of blue, which are seen as a tint, are taken out of the distortion.

A distortion begins as a free tensor. It is squashed, weighted per channel and masked by the JND
map. The result is added to the *normalised* image, so in pixel units it is multiplied by ImageNet's
standard deviation once more, whatever the extractor's own normalisation is.
"""

import torch
import torch.nn.functional as F

from activeindex.activation.settings import ActivationSettings
from activeindex.errors import ShapeError
from activeindex.extractors.base import IMAGENET_STD
from activeindex.images.levels import from_levels, resized, rows_of_strips

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""

CHANNEL_WEIGHTS = tuple(0.072 / weight for weight in LUMINANCE)
"""(0.241, 0.123, 0.632): the less a channel adds to luminance, the more it may change."""

INITIAL_AMPLITUDE = 1e-6
"""Standard deviation of the free tensor at the start."""

_LOCAL_MEAN = (
    (1.0, 1.0, 1.0, 1.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 2.0, 0.0, 2.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 1.0, 1.0, 1.0, 1.0),
)  # over 32
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))

_FLOOR = 5.0
"""Smallest visible change that the map states, in 8-bit levels."""

_EVEN = 10.5
"""The even mask in 8-bit levels: about the mean of the JND map over photographs."""

_DARK, _DARKEST = 80.0, 0.3
"""Local luminance below which the even mask falls in proportion, and its smallest share."""

_CELLS = 40
"""Cells across a picture; ``fine_blue`` leaves only finer changes in the blue channel."""


def luminance_adaptation(luminance: torch.Tensor) -> torch.Tensor:
    """Visibility threshold from the local background, in 8-bit levels.

    Args:
        luminance: ``(B, 1, H, W)`` in [0, 255].

    Returns:
        ``(B, 1, H, W)``: 17 (1 - sqrt(B / 127 + 1e-3)) + 3 where the local mean B is at most 127,
        3 / 128 (B - 127) + 3 above.
    """
    background = _local_mean(luminance)
    dark = 17.0 * (1.0 - torch.sqrt(background / 127.0 + 1e-3)) + 3.0
    bright = 3.0 / 128.0 * (background - 127.0) + 3.0
    return torch.where(background <= 127.0, dark, bright)


def _local_mean(luminance: torch.Tensor) -> torch.Tensor:
    kernel = luminance.new_tensor(_LOCAL_MEAN).div(32.0).view(1, 1, 5, 5)
    return F.conv2d(luminance, kernel, padding=2)


def contrast_masking(luminance: torch.Tensor) -> torch.Tensor:
    """Visibility threshold from the local contrast, in 8-bit levels.

    Args:
        luminance: ``(B, 1, H, W)`` in [0, 255].

    Returns:
        ``(B, 1, H, W)``: 0.117 * 16 C^2.4 / (C^2 + 26^2) with C the norm of the Sobel gradient.
    """
    horizontal = luminance.new_tensor(_SOBEL)
    kernels = torch.stack([horizontal, horizontal.T]).unsqueeze(1)
    gradients = F.conv2d(luminance, kernels, padding=1)
    contrast = gradients.square().sum(dim=1, keepdim=True).sqrt()
    return 0.117 * 16.0 * contrast.pow(2.4) / (contrast.square() + 26.0**2)


def jnd_map(images: torch.Tensor) -> torch.Tensor:
    """Smallest visible change of each pixel.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1], RGB.

    Returns:
        ``(B, 1, H, W)`` in the same unit: max(LA + CM - 0.3 min(LA, CM), 5) / 255.

    Raises:
        ShapeError: If the images have another shape.
    """
    luminance = _luminance(images)
    adaptation = luminance_adaptation(luminance)
    masking = contrast_masking(luminance)
    threshold = adaptation + masking - 0.3 * torch.minimum(adaptation, masking)
    return threshold.clamp(min=_FLOOR) / 255.0


def even_mask(images: torch.Tensor) -> torch.Tensor:
    """Mask that is the same everywhere, but falls with the luminance in the dark.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1], RGB.

    Returns:
        ``(B, 1, H, W)`` in the same unit: 10.5 / 255 times B / 80, the latter within [0.3, 1], for
        a local mean luminance B in 8-bit levels.

    Raises:
        ShapeError: If the images have another shape.
    """
    share = (_local_mean(_luminance(images)) / _DARK).clamp_(_DARKEST, 1.0)
    return share.mul_(_EVEN / 255.0)


def _luminance(images: torch.Tensor) -> torch.Tensor:
    if images.dim() != 4 or images.shape[1] != 3:
        raise ShapeError("images", ("B", 3, "H", "W"), images.shape)
    weights = images.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    return (images * 255.0 * weights).sum(dim=1, keepdim=True)


def initial_distortion(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Free tensor at the start: ``INITIAL_AMPLITUDE`` times normal noise."""
    return torch.randn(shape, generator=generator) * INITIAL_AMPLITUDE


def jnd_in_strips(levels: torch.Tensor, mask: str = "jnd") -> torch.Tensor:
    """Compute a mask of levels ``(B, 3, H, W)`` in strips of rows, in little memory.

    Args:
        levels: The images.
        mask: ``jnd`` for :func:`jnd_map`, ``even`` for :func:`even_mask`.
    """
    map_of = even_mask if mask == "even" else jnd_map
    step, reach = rows_of_strips(levels), 2  # Rows that the map looks beyond its own.
    jnd = torch.empty_like(levels[:, :1], dtype=torch.float32)
    for first in range(0, levels.shape[2], step):
        above = min(first, reach)
        around = levels[:, :, first - above : first + step + reach]
        strip = map_of(from_levels(around))[:, :, above : above + step]
        jnd[:, :, first : first + step] = strip
    return jnd


def squash(free: torch.Tensor, settings: ActivationSettings) -> torch.Tensor:
    """Shape free tensors ``(B, 3, H, W)`` into distortions in normalised space, before the mask.

    Args:
        free: Any values.
        settings: Says which of squashing, channel weights and fine blue apply.
    """
    distortion = torch.tanh(free) if settings.use_tanh else free
    if settings.scale_channels:
        distortion = distortion * free.new_tensor(CHANNEL_WEIGHTS).view(1, 3, 1, 1)
    if settings.fine_blue:
        blue = distortion[:, 2:]
        coarse = resized(resized(blue, (_CELLS, _CELLS)), (blue.shape[2], blue.shape[3]))
        distortion = torch.cat([distortion[:, :2], blue - coarse], dim=1)
    return distortion


def mask_of(jnd: torch.Tensor, settings: ActivationSettings) -> torch.Tensor:
    """Turn the JND map ``(B, 1, H, W)`` into the factor of squashed tensors, in place."""
    return jnd.mul_(settings.scaling) if settings.use_attenuation else torch.ones_like(jnd)


def in_pixels(distortion: torch.Tensor) -> torch.Tensor:
    """Convert a distortion from normalised space to pixel units: 1 is a pixel's range."""
    return distortion * distortion.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
