"""Features of whatever images a Python user has are those that the command gives for files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import activeindex as ai
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import extract, resolve_extractor
from activeindex.extractors.features import extract_folder
from activeindex.images.levels import Pixels, to_tensor


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return ai.load_extractor("lite0_copy", 96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, Pixels]) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("astronaut", "camera", "chelsea", "coffee", "rocket"):
        Image.fromarray(photographs[name]).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("views", [0, 2])
def test_features_are_those_of_extract_fts(
    folder: Path, extractor: Extractor, tmp_path: Path, views: int
) -> None:
    extracted = extract_folder(extractor, folder, tmp_path / "fts", descriptor_views=views)
    expected = ai.read_features(extracted.features, "features").values
    files = sorted(folder.iterdir())
    pillow: list[Image.Image] = []
    for file in files:
        with Image.open(file) as image:
            pillow.append(image.copy())
    arrays = [np.asarray(image.convert("RGB")) for image in pillow]
    for images in (folder, files, pillow, arrays, [to_tensor(array) for array in arrays]):
        features = extract(images, extractor, descriptor_views=views)
        np.testing.assert_array_equal(features.values, expected)
        assert features.descriptor_views == views
        assert features.extractor == extractor.identity
    assert extract(folder, extractor).names == tuple(file.name for file in files)


def test_numpy_takes_features_for_their_matrix(folder: Path, extractor: Extractor) -> None:
    features = extract([folder / "astronaut.png", folder / "coffee.png"], extractor)
    assert (len(features), features.shape) == (2, (2, extractor.dimension))
    assert np.asarray(features) is features.values
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)


def test_an_extractor_is_itself_a_name_a_file_or_the_default(
    extractor: Extractor, tmp_path: Path
) -> None:
    assert resolve_extractor(extractor) is extractor
    assert resolve_extractor().identity == ai.load_extractor().identity
    assert resolve_extractor("lite0_copy").identity == ai.load_extractor().identity
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    traced = torch.jit.trace(network, torch.rand(1, 3, 288, 288))  # type: ignore[no-untyped-call]
    traced.save(str(tmp_path / "network.pt"))
    for path in (tmp_path / "network.pt", str(tmp_path / "network.pt")):
        assert resolve_extractor(path).dimension == 4


def test_a_network_is_sent_to_as_extractor() -> None:
    with pytest.raises(InputError) as caught:
        extract(np.zeros((32, 32, 3)), nn.Flatten())  # type: ignore[arg-type]
    assert str(caught.value) == (
        "extractor: expected a name, a file or an extractor, found a Flatten; make one with "
        "as_extractor(network, input_size)"
    )
    with pytest.raises(InputError, match=r"^extractor: expected a name.*, found a int$"):
        resolve_extractor(3)  # type: ignore[arg-type]
