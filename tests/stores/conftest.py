"""A small quantiser and images, and a store of each engine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from activeindex.extractors.feature_files import ImageFeatures
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import TrainedIndex, load_or_train
from activeindex.stores.ingest import NewImages
from activeindex.stores.store import Store
from tests.indexing.trained import Array, features

EXTRACTOR = ExtractorIdentity("sscd", "0123456789ab" + 52 * "0", 288)
ENGINES = ("faiss:", "lance://")


def training(values: Array, extractor: ExtractorIdentity | None = EXTRACTOR) -> ImageFeatures:
    """Features as ``load_or_train`` takes them."""
    return ImageFeatures(values, extractor=extractor)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedIndex:
    folder = tmp_path_factory.mktemp("quantiser") / "first"
    return load_or_train(folder, training(features(800, 64)), "IVF16,PQ8x8np", "L2")


@pytest.fixture(scope="session")
def renewed(tmp_path_factory: pytest.TempPathFactory) -> TrainedIndex:
    folder = tmp_path_factory.mktemp("quantiser") / "second"
    return load_or_train(folder, training(features(800, 64, seed=7)), "IVF8,PQ8x8np", "L2")


def batch(count: int, seed: int = 0, prefix: str = "image") -> NewImages:
    """Images of which every third one was activated."""
    names = [f"{prefix}-{number:04d}.jpg" for number in range(count)]
    activations = {
        name: {"psnr": 30.0 + number % 20, "sha256": f"{number:064x}", "name": name}
        for number, name in enumerate(names)
        if number % 3 == 0
    }
    return NewImages(names, features(count, 64, seed), activations)


def queries(count: int = 20) -> Array:
    return features(count, 64, seed=1234)


@pytest.fixture(params=ENGINES)
def make(
    request: pytest.FixtureRequest, tmp_path: Path, trained: TrainedIndex
) -> Callable[[], Store]:
    """Makes a store the first time and opens it again afterwards."""
    address = f"{request.param}{tmp_path / 'store'}"

    def made() -> Store:
        if (tmp_path / "store").exists():
            return Store(address)
        return Store.create(address, trained)

    return made
