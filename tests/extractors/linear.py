"""An extractor whose gradient can be written down."""

import numpy as np
import numpy.typing as npt
import torch

from activeindex.extractors.base import Extractor
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class LinearExtractor(Extractor):
    """Features are a fixed matrix times the normalised pixels, channel by channel."""

    weights: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, dimension: int = 8, input_size: int = 32) -> None:
        super().__init__(ExtractorIdentity("linear", "0" * 64, input_size), dimension)
        generator = np.random.default_rng(0)
        weights = generator.normal(size=(dimension, 3 * input_size**2)) / input_size
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return ((images - self.mean) / self.std).flatten(1) @ self.weights.T


def linear_features(count: int) -> npt.NDArray[np.float32]:
    """Features such as the extractor gives."""
    values = np.random.default_rng(1).normal(scale=2.0, size=(count, 8))
    return values.astype(np.float32)


def linear_quantiser(factory: str = "IVF4,PQ4x4np") -> Quantiser:
    return Quantiser(train_faiss(linear_features(200), factory, "L2"))
