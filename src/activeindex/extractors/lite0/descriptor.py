"""The descriptor: the trunk, GeM pooling, a linear layer, unit length."""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from activeindex.extractors.lite0.trunk import CHANNELS, EfficientNetLite0
from activeindex.extractors.pooling import gem

DIMENSION = 256
P = 3.0
"""The exponent of the pooling, SSCD's (Pizzi et al., CVPR 2022, section 4)."""


class Descriptor(nn.Module):
    """Network from normalised images ``(B, 3, H, W)`` to unit features ``(B, d)``.

    Args:
        dimension: The number ``d`` of values in a feature.
        folded: True if the trunk's batch norms are part of its convolutions.
    """

    def __init__(self, dimension: int = DIMENSION, *, folded: bool = False) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(folded=folded)
        self.head = nn.Linear(CHANNELS, dimension)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return pooled feature maps ``(B, 1280)`` in float32, before the linear layer."""
        # The pooling's cubes and roots leave the range of half floats.
        return gem(self.trunk.maps(images).float(), P)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features ``(B, d)`` of unit length."""
        return F.normalize(self.head(self.pooled(images)).float(), dim=1)


def folded(network: Descriptor) -> Descriptor:
    """Copy a network with every batch norm folded into its convolution.

    It gives the same features up to rounding, in less time: a norm in evaluation mode is an affine
    map per channel.

    Args:
        network: Not folded yet; it is not changed.
    """
    source = copy.deepcopy(network).cpu().float().eval()
    plain = Descriptor(source.head.out_features, folded=True)
    weights = {f"head.{name}": value for name, value in source.head.state_dict().items()}
    convolution, name = None, ""
    for key, layer in source.named_modules():
        if isinstance(layer, nn.Conv2d):
            convolution, name = layer, key
        elif isinstance(layer, nn.BatchNorm2d) and convolution is not None:
            fused = fuse_conv_bn_eval(convolution, layer)
            weights |= {f"{name}.{part}": value for part, value in fused.state_dict().items()}
    plain.load_state_dict(weights)
    return plain.eval()
