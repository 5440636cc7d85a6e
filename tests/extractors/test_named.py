"""Extractors by name and by file."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from activeindex.errors import InputError, MissingExtraError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.images.levels import Pixels, resize_square, to_tensor
from tests.extractors.programs import MergedViews, Views, images, seeded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Means(nn.Module):
    """The mean of each channel: a feature that can be written down."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


class Maps(nn.Module):
    """A feature map, not a feature."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::32, ::32]


def scripted(folder: Path, network: nn.Module) -> Path:
    path = folder / "network.torchscript.pt"
    torch.jit.save(torch.jit.script(network), str(path))
    return path


def test_a_torchscript_file_gets_normalised_images(tmp_path: Path) -> None:
    extractor = load_extractor(scripted(tmp_path, Means()), input_size=32)
    assert (extractor.dimension, extractor.input_size) == (3, 32)
    image = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    expected = [(value - m) / s for value, m, s in zip((0.2, 0.5, 0.9), MEAN, STD, strict=True)]
    assert np.allclose(extractor(image).numpy(), [expected], atol=1e-6)


def test_gradients_reach_the_image_and_not_the_weights(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    extractor = load_extractor(scripted(tmp_path, network), input_size=32)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    extractor(image).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().min() > 0
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


@pytest.mark.parametrize("make", [Views, MergedViews])
def test_a_network_that_views_its_maps_keeps_its_features(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    network = seeded(make)
    extractor = load_extractor(scripted(tmp_path, network), input_size=32)
    normalised = (images() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert torch.allclose(extractor(images()), network(normalised), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*")
def test_files_that_are_no_extractor_are_named_with_the_reason(tmp_path: Path) -> None:
    maps = scripted(tmp_path, Maps())
    with pytest.raises(InputError, match=r"expected features \(1, d\), found \(1, 3, 1, 1\)"):
        load_extractor(maps, input_size=32)
    text = tmp_path / "text.pt"
    text.write_text("not a network")
    with pytest.raises(InputError, match=f"^{text}: expected a TorchScript file") as caught:
        load_extractor(text)
    assert len(str(caught.value)) < len(str(text)) + 200
    onnx = tmp_path / "text.onnx"
    onnx.write_text("not a network")
    with pytest.raises(InputError, match=f"^{onnx}: "):
        load_extractor(onnx)
    with pytest.raises(InputError, match=r"^model_path \S+/nowhere.pt: "):
        load_extractor(tmp_path / "nowhere.pt")


def test_a_file_with_a_network_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    torch.save(Means(), path)
    with pytest.raises(InputError, match=f"^{path}: expected a TorchScript file"):
        load_extractor(path)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    extractor = load_extractor(scripted(tmp_path, Means()), input_size=32)
    with pytest.raises(ShapeError, match=r"^images: expected shape \(B, 3, 32, 32\)"):
        extractor(torch.rand(1, 3, 48, 48))
    with pytest.raises(InputError, match=r"^resize_size: expected 32 or more, found 8$"):
        load_extractor(scripted(tmp_path, Means()), input_size=8)


def test_the_identity_tells_weights_and_input_size_apart(tmp_path: Path) -> None:
    path = scripted(tmp_path, Means())
    first, larger = load_extractor(path, input_size=32), load_extractor(path, input_size=48)
    assert first.identity != larger.identity
    assert first.identity == load_extractor(path, input_size=32).identity
    other = load_extractor(scripted(tmp_path, nn.Sequential(Means())), input_size=32)
    assert other.identity != first.identity


def test_the_default_extractor_knows_a_copy_from_another_photograph(
    sscd: Extractor, photographs: dict[str, Pixels]
) -> None:
    assert (sscd.dimension, sscd.input_size) == (512, 288)
    originals = torch.stack([resize_square(to_tensor(p), 288) for p in photographs.values()])
    flat = [resize_square(to_tensor(p[20:-20, 30:-30]), 288) for p in photographs.values()]
    stored, queries = features_of(sscd, originals), features_of(sscd, torch.stack(flat))
    assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)
    similarities = queries @ stored.T
    assert np.array_equal(similarities.argmax(axis=1), np.arange(len(stored)))


def test_the_official_file_is_preferred_to_the_copy_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    scripted(tmp_path, Means()).rename(folder / "sscd_disc_mixup.torchscript.pt")
    assert load_extractor("sscd_disc_mixup", 32).dimension == 3


def test_without_weights_the_error_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        load_extractor("sscd_disc_mixup")
    assert str(tmp_path) in str(caught.value)
    assert "sscd_disc_mixup.torchscript.pt" in str(caught.value)
    assert 'pip install "activeindex[sscd]"' in str(caught.value)


def test_an_onnx_file_without_onnx_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'network.onnx.*pip install "activeindex\[onnx\]"'):
        load_extractor(str(tmp_path / "network.onnx"))
