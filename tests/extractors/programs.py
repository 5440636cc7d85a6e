"""Networks saved as ``torch.export`` programs."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

SIDE = 32


class Convolutions(nn.Module):
    """Convolution, normalisation, pooling, and a layer over the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.pool, self.last = nn.MaxPool2d(3, 2), nn.Linear(8 * 7 * 7, 16)
        self.norm.running_mean = torch.linspace(-0.5, 0.5, 8)
        self.norm.running_var = torch.linspace(0.2, 2.0, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.pool(F.relu(self.norm(self.convolution(images))))
        return F.normalize(self.last(maps.flatten(1)), dim=1)


class Views(Convolutions):
    """Likewise, with the call that needs a map in one certain layout."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.pool(F.relu(self.norm(self.convolution(images))))
        features: torch.Tensor = self.last(maps.view(maps.size(0), -1))
        return features


class MergedViews(nn.Module):
    """Views that merge images and channels, which one image alone does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.convolution(images)
        count, channels, height, width = maps.shape
        return maps.view(count * channels, height, width).amax((1, 2)).view(count, channels)


class Attention(nn.Module):
    """A transformer's block over patches, with the class token as the feature."""

    places: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.token, self.positions = nn.Parameter(torch.rand(1, 1, 16)), torch.rand(1, 17, 16)
        self.register_buffer("places", torch.rand(1, 17, 16), persistent=False)
        self.norm, self.together = nn.LayerNorm(16), nn.Linear(16, 48)
        self.apart = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16), nn.Dropout(0.1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + self.places + self.positions
        heads = self.together(self.norm(tokens)).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + mixed.transpose(1, 2).flatten(2)
        tokens = tokens + self.apart(tokens)
        return tokens[:, 0]


class Pooled(nn.Module):
    """A network for images of any size that are a multiple of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.convolution(images)
        return maps.square().mean((2, 3)).sqrt()


def images(count: int = 3, side: int = SIDE) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def save(path: Path, network: nn.Module) -> Path:
    batch = ({0: Dim("batch")},)
    torch.export.save(torch.export.export(network, (images(2),), dynamic_shapes=batch), path)
    return path
