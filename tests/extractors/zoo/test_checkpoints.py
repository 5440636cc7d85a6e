"""Checkpoints as training programs leave them. No library is needed here."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors import zoo_checkpoints

Weights = dict[str, torch.Tensor]


class Network(nn.Module):
    """A trunk without its head; a prefix that checkpoints have is a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.encoder = nn.Linear(4, 4)


def load_checkpoint(network: nn.Module, path: Path) -> tuple[str, ...]:
    return zoo_checkpoints.load_checkpoint(network, path, path.read_bytes())


def trained() -> Weights:
    torch.manual_seed(1)
    network = Network()
    network.norm.running_mean.uniform_()  # type: ignore[union-attr]
    return network.state_dict()


def saved(folder: Path, content: Any) -> Path:
    path = folder / "checkpoint.pth"
    torch.save(content, path)
    return path


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {f"{prefix}{key}": value for key, value in weights.items()}


def assert_loaded(network: nn.Module, weights: Weights) -> None:
    found = network.state_dict()
    assert found.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(found[key], value), key


def plain(weights: Weights) -> Any:
    return weights


def parallel(weights: Weights) -> Any:
    return {"epoch": 9, "state_dict": prefixed(weights, "module."), "optimizer": {"state": {}}}


def lightning(weights: Weights) -> Any:
    return {"state_dict": prefixed(weights, "model.backbone."), "hyper_parameters": {"lr": 0.1}}


def compiled(weights: Weights) -> Any:
    return {"model_state_dict": prefixed(weights, "_orig_mod.module.")}


def nested(weights: Weights) -> Any:
    return {"model": {"state_dict": prefixed(weights, "encoder.")}}


def self_distilled(weights: Weights) -> Any:
    """As DINO leaves them: two networks and the options of the program, an argparse.Namespace."""
    other = {key: torch.zeros_like(value) for key, value in weights.items()}
    return {
        "student": prefixed(other, "module.backbone."),
        "teacher": prefixed(weights, "backbone."),
        "args": argparse.Namespace(arch="vit_small", lr=0.1),
    }


def averaged(weights: Weights) -> Any:
    """As timm leaves them: the last weights and their average over the training."""
    other = {key: torch.zeros_like(value) for key, value in weights.items()}
    return {"arch": "resnet18", "state_dict": other, "state_dict_ema": weights}


@pytest.mark.parametrize(
    "wrap", [plain, parallel, lightning, compiled, nested], ids=lambda wrap: wrap.__name__
)
def test_weights_are_found_in_their_wrappings(
    tmp_path: Path, wrap: Callable[[Weights], Any]
) -> None:
    network = Network()
    assert load_checkpoint(network, saved(tmp_path, wrap(trained()))) == ()
    assert_loaded(network, trained())


@pytest.mark.parametrize(
    ("wrap", "taken", "left"),
    [(self_distilled, "teacher", "student"), (averaged, "state_dict_ema", "state_dict")],
)
def test_of_several_weights_the_better_ones_are_taken_and_it_is_said(
    tmp_path: Path, wrap: Callable[[Weights], Any], taken: str, left: str
) -> None:
    network, path = Network(), saved(tmp_path, wrap(trained()))
    assert load_checkpoint(network, path) == (f"{path}: {taken} is taken, not {left}",)
    assert_loaded(network, trained())


def test_half_precision_and_a_missing_count_of_batches_are_no_matter(tmp_path: Path) -> None:
    weights = {k: v.half() for k, v in trained().items() if not k.endswith("num_batches_tracked")}
    network = Network()
    assert load_checkpoint(network, saved(tmp_path, weights)) == ()
    assert network.conv.weight.dtype == torch.float32
    assert torch.equal(network.conv.weight, weights["conv.weight"].float())


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = trained()
    del weights["encoder.bias"]
    weights["encoder.weight"] = torch.zeros(8, 4)
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(10, 4), torch.zeros(10)
    network, path = Network(), saved(tmp_path, prefixed(weights, "module."))
    before = network.encoder.weight.clone()
    missing, unknown = load_checkpoint(network, path)
    assert missing == (
        f"{path}: 2 of the network's 9 weights are not in it and stay untrained: "
        "encoder.weight, encoder.bias"
    )
    assert unknown == (
        f"{path}: 3 of its 10 weights do not fit: "
        "module.encoder.weight, module.fc.weight, module.fc.bias"
    )
    assert torch.equal(network.conv.weight, weights["conv.weight"])
    assert torch.equal(network.encoder.weight, before)


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    weights = trained() | {f"layer{n}.weight": torch.zeros(1) for n in range(20)}
    (unknown,) = load_checkpoint(Network(), saved(tmp_path, weights))
    assert "20 of its 29 weights do not fit: layer0.weight, layer1.weight, " in unknown
    assert unknown.endswith("layer7.weight, …")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    # The count of batches would fit any network with a norm of that name.
    path = saved(
        tmp_path, {"fc.weight": torch.zeros(2), "norm.num_batches_tracked": torch.ones(())}
    )
    with pytest.raises(InputError) as caught:
        load_checkpoint(Network(), path)
    assert str(caught.value) == (
        f"model_path {path}: none of its 2 weights fits the network "
        "(found fc.weight, norm.num_batches_tracked; "
        "expected conv.weight, conv.bias, norm.weight, …)"
    )


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"epoch": 3}, [1, 2], torch.zeros(3)])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(InputError, match=f"^model_path {path}: expected a checkpoint, found no"):
        load_checkpoint(Network(), path)


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("hidden", [False, True], ids=["bare", "in the options"])
def test_pickled_objects_are_refused_and_not_run(tmp_path: Path, hidden: bool) -> None:
    sprung = tmp_path / "sprung"
    trap: Any = argparse.Namespace(trap=Trap(sprung)) if hidden else Trap(sprung)
    path = saved(tmp_path, {"state_dict": trained(), "args": trap})
    with pytest.raises(InputError, match=f"^model_path {path}: expected a checkpoint of tensors"):
        load_checkpoint(Network(), path)
    assert not sprung.exists()
    torch.load(path, weights_only=False)  # It would have sprung.
    assert sprung.exists()


def test_a_whole_pickled_network_and_a_text_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("not a checkpoint")
    for path in (saved(tmp_path, Network()), text):
        with pytest.raises(InputError, match=f"^model_path {path}: expected a checkpoint of ten"):
            load_checkpoint(Network(), path)


def test_safetensors_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    network, path = Network(), tmp_path / "model.safetensors"
    save_file(trained(), path)
    assert load_checkpoint(network, path) == ()
    assert_loaded(network, trained())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"^model_path {path}: expected a file of safetensors"):
        load_checkpoint(network, path)
