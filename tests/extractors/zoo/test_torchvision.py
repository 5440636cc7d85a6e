"""Networks of torchvision by name. `make test-zoo` runs these; elsewhere torchvision is missing."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.zoo import without_head
from tests.extractors.zoo.checkpoints import checkpoint_of

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)

SMALL = {"resnet18": "fc", "convnext_tiny": "classifier.2", "mobilenet_v3_small": "classifier.3"}
"""Networks, and the layer of each that gives the classes."""

DIMENSIONS = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "resnet50": 2048,
    "shufflenet_v2_x1_0": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "vgg16": 4096,
    "vit_b_16": 768,
}
"""What the last layer of each family gets, by the papers and the documentation of torchvision."""


@pytest.fixture
def part_of_a_vit(tmp_path: Path, torchvision: Any) -> Path:
    """The first layer of a ViT-B/16: a whole one is 330 MB."""
    path = tmp_path / "part.pth"
    torch.save({"conv_proj.weight": torch.randn(768, 3, 16, 16)}, path)
    return path


@pytest.mark.parametrize("name", SMALL)
def test_the_last_layer_on_the_features_gives_the_classes(
    name: str, torchvision: Any, tmp_path: Path
) -> None:
    network = torchvision.models.get_model(name, weights=None)
    path = checkpoint_of(network, tmp_path)
    extractor = load_extractor(f"torchvision:{name}", 96, model_path=path)
    images = torch.rand(2, 3, 96, 96)
    last = network.get_submodule(SMALL[name])
    assert extractor.dimension == last.in_features
    with torch.no_grad():
        expected = network.eval()((images - MEAN) / STD)
        assert torch.allclose(last(extractor(images)), expected, atol=1e-4)
    (note,) = extractor.notes
    assert note.startswith(f"{path}: 2 of its ")
    assert note.endswith(f" do not fit: module.{SMALL[name]}.weight, module.{SMALL[name]}.bias")


@pytest.mark.parametrize("name", DIMENSIONS)
def test_every_family_loses_its_head(name: str, torchvision: Any) -> None:
    with torch.device("meta"):  # Shapes without values: large networks cost nothing.
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(name, weights=None, **options).eval()
        features = without_head(network, name)(torch.zeros(1, 3, 224, 224))
    assert features.shape == (1, DIMENSIONS[name])


def test_a_network_without_a_known_head_is_refused() -> None:
    with pytest.raises(InputError, match=r"^torchvision:mine: it has no classification head"):
        without_head(nn.Sequential(nn.Linear(3, 3)), "mine")


def test_gradients_reach_the_image(torchvision: Any, tmp_path: Path) -> None:
    path = checkpoint_of(torchvision.models.get_model("mobilenet_v3_small"), tmp_path)
    extractor = load_extractor("torchvision:mobilenet_v3_small", 64, model_path=path)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    extractor(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.99


def test_input_size_and_normalisation_are_those_of_the_default_weights(
    torchvision: Any, tmp_path: Path
) -> None:
    path = tmp_path / "part.pth"
    torch.save({"features.0.0.weight": torch.randn(32, 3, 3, 3)}, path)
    usual = load_extractor("torchvision:efficientnet_b1", model_path=path)
    assert usual.input_size == 240
    buffers = dict(usual.named_buffers())
    assert torch.equal(buffers["mean"], MEAN)
    assert torch.equal(buffers["std"], STD)
    # Trained with a mean of one half, as its weights say, and too large to be tried at its 480 px.
    halves = load_extractor("torchvision:efficientnet_v2_l", 32, model_path=path)
    assert dict(halves.named_buffers())["mean"].flatten().tolist() == [0.5, 0.5, 0.5]


def test_a_vision_transformer_takes_its_own_size_and_no_other(part_of_a_vit: Path) -> None:
    extractor = load_extractor("torchvision:vit_b_16", model_path=part_of_a_vit)
    assert (extractor.input_size, extractor.dimension) == (224, 768)
    with pytest.raises(InputError) as caught:
        load_extractor("torchvision:vit_b_16", 288, model_path=part_of_a_vit)
    assert str(caught.value) == (
        "torchvision:vit_b_16: the network refuses an image of 288x288 "
        "(Wrong image height! Expected 224 but got 288!)"
    )


def test_pooling_is_for_networks_that_give_maps(torchvision: Any) -> None:
    with pytest.raises(InputError, match=r"^pooling: expected a timm network, found one of torchv"):
        load_extractor("torchvision:resnet18", pooling=Pooling())


def test_an_unknown_name_is_refused(torchvision: Any) -> None:
    for name in ("resnet19", "", "fasterrcnn_resnet50_fpn"):
        with pytest.raises(InputError) as caught:
            load_extractor(f"torchvision:{name}")
        assert str(caught.value) == (
            f"model_name: expected a network that torchvision has, found {name!r}"
        )


def test_without_a_network_the_error_comes_at_once_and_names_the_option(
    torchvision: Any, no_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_extractor("torchvision:resnet18")
    assert time.monotonic() - start < 10
    assert str(caught.value) == (
        "torchvision:resnet18: its pretrained weights cannot be had (Connection refused); "
        "give a checkpoint with --model_path"
    )
    assert capsys.readouterr().out == ""


def test_pretrained_weights_come_from_the_cache(torchvision: Any, no_network: Path) -> None:
    """The library's own way to its weights, from where it keeps them once they are downloaded."""
    network = torchvision.models.get_model("resnet18", weights=None)
    address = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    cached = no_network / "hub" / "checkpoints" / address.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(network.state_dict(), cached)
    extractor = load_extractor("torchvision:resnet18")
    assert (extractor.input_size, extractor.dimension, extractor.notes) == (224, 512, ())
    with torch.no_grad():
        network.layer1[0].conv1.weight.mul_(2)
    torch.save(network.state_dict(), cached)
    other = load_extractor("torchvision:resnet18")
    assert other.identity.name == extractor.identity.name == "torchvision:resnet18"
    assert other.identity != extractor.identity
