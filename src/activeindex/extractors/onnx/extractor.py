"""Extractors in ONNX files."""

from pathlib import Path

import torch

from activeindex.errors import InputError
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, Extractor
from activeindex.extractors.onnx.module import OnnxModule, load_onnx_module
from activeindex.identity import ExtractorIdentity


class OnnxExtractor(Extractor):
    """An ONNX graph as a differentiable extractor.

    A graph that takes bytes normalises inside and gets pixel values 0..255 as they are; one that
    takes floats gets normalised images.

    Args:
        network: The graph.
        identity: Name, weights and input size.
        mean: Mean per channel that is subtracted from images in [0, 1]; ImageNet's by default.
        std: Standard deviation per channel that they are then divided by.
    """

    def __init__(
        self,
        network: OnnxModule,
        identity: ExtractorIdentity,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        for side in (network.height, network.width):
            if side not in (None, identity.input_size):
                raise InputError(
                    f"{identity.name}: the graph takes images of {network.height}x{network.width}, "
                    f"found resize_size {identity.input_size}"
                )
        super().__init__(identity, network.dimension)
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        bytes_in = self.network.input_dtype == "uint8"
        pixels = images * 255.0 if bytes_in else (images - self.mean) / self.std
        if self.network.layout == "NHWC":
            pixels = pixels.permute(0, 2, 3, 1)
        features: torch.Tensor = self.network(pixels)
        return features


def load_onnx(
    path: Path,
    identity: ExtractorIdentity,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> OnnxExtractor:
    """Load an ONNX file.

    Raises:
        InputError: If the file is not an ONNX graph that maps images to one vector each, or uses
            operators that have no differentiable counterpart here.
    """
    return OnnxExtractor(load_onnx_module(path), identity, mean, std)
