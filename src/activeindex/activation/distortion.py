"""From a free tensor to a distortion that the eye forgives (Fernandez et al., ICLR 2023).

The free tensor lives at the image's full size. It is squashed, weighted per channel and masked by
the JND map; the result is added to the *normalised* image, so in pixel units it is multiplied by
ImageNet's standard deviation once more, whatever the extractor's own normalisation is.
"""

import torch

from activeindex.activation.jnd import LUMINANCE
from activeindex.activation.settings import ActivationSettings
from activeindex.extractors.base import IMAGENET_STD

CHANNEL_WEIGHTS = tuple(0.072 / weight for weight in LUMINANCE)
"""(0.241, 0.123, 0.632): the less a channel adds to luminance, the more it may change."""

INITIAL_AMPLITUDE = 1e-6
"""Standard deviation of the free tensor at the start."""


def initial_distortion(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """The free tensor at the start, ``INITIAL_AMPLITUDE`` times normal noise."""
    return torch.randn(shape, generator=generator) * INITIAL_AMPLITUDE


def shape_distortion(
    free: torch.Tensor, jnd: torch.Tensor, settings: ActivationSettings
) -> torch.Tensor:
    """The distortion in normalised space that a free tensor stands for.

    Args:
        free: ``(B, 3, H, W)``, any value.
        jnd: ``(B, 1, H, W)``; see :func:`~activeindex.activation.jnd.jnd_map`.
        settings: Says which of squashing, channel weights and masking apply.

    Returns:
        ``(B, 3, H, W)``, to be added to the normalised image.
    """
    distortion = torch.tanh(free) if settings.use_tanh else free
    if settings.scale_channels:
        distortion = distortion * free.new_tensor(CHANNEL_WEIGHTS).view(1, 3, 1, 1)
    if settings.use_attenuation:
        distortion = distortion * (settings.scaling * jnd)
    return distortion


def in_pixels(distortion: torch.Tensor) -> torch.Tensor:
    """A distortion in normalised space in pixel units, where 1 is the whole range of a pixel."""
    return distortion * distortion.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
