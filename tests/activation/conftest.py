import numpy as np
import pytest
import torch

from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss


@pytest.fixture(scope="session")
def crops(photographs: dict[str, Pixels]) -> list[torch.Tensor]:
    """Parts of the photographs, 150 pixels and more on a side, each of another size."""
    generator = np.random.default_rng(0)
    parts = []
    for number in range(56):
        pixels = list(photographs.values())[number % len(photographs)]
        height, width = 150 + number, 206 - number
        top = int(generator.integers(pixels.shape[0] - height))
        left = int(generator.integers(pixels.shape[1] - width))
        parts.append(to_tensor(pixels[top : top + height, left : left + width]))
    return parts


@pytest.fixture(scope="session")
def quantiser(small_sscd: Extractor, crops: list[torch.Tensor]) -> Quantiser:
    """Of an index trained on the features of photographs."""
    images = torch.stack([resize_square(crop, small_sscd.input_size) for crop in crops])
    return Quantiser(train_faiss(features_of(small_sscd, images), "IVF4,PQ8x4np", "L2"))
