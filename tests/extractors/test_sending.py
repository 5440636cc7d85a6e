"""Extractors that go to another process: they are loaded again there, and must be the same."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from tests.extractors.linear import LinearExtractor
from training.pretrained import pretrained_trunk


def scripted(path: Path) -> Path:
    network = pretrained_trunk()
    network.forward = network.maps  # type: ignore[method-assign]
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 64, 64)), str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def same(extractor: Extractor, images: torch.Tensor) -> None:
    again = pickle.loads(pickle.dumps(extractor))
    assert again.identity == extractor.identity
    assert np.array_equal(features_of(again, images), features_of(extractor, images))


def test_options_go_with_the_file(tmp_path: Path, images: torch.Tensor) -> None:
    path = scripted(tmp_path / "network.pt")
    same(load_extractor(path, 64, pooling=Pooling.parse("gem:4")), images)


def test_the_weights_stay_where_they_are(tmp_path: Path) -> None:
    extractor = load_extractor(scripted(tmp_path / "network.pt"), 64, pooling=Pooling())
    assert len(pickle.dumps(extractor)) < 2000


def test_an_extractor_that_is_no_file_goes_as_it_is() -> None:
    same(LinearExtractor(input_size=64), torch.zeros(1, 3, 64, 64))


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = scripted(tmp_path / "network.pt")
    sent = pickle.dumps(load_extractor(path, 64, pooling=Pooling()))
    network = pretrained_trunk()
    network.forward = network.maps  # type: ignore[method-assign]
    with torch.no_grad():
        for parameter in network._bn1.parameters():
            parameter.add_(1.0)
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 64, 64)), str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match=r"^extractor: expected network\.pt.* found network\.pt"):
        pickle.loads(sent)
