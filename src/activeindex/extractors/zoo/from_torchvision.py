"""Networks of torchvision."""

import warnings
from typing import Any

from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.zoo.building import LibraryNetwork, built, import_library

_HEADS = ("fc", "classifier", "head", "heads")
"""What torchvision calls its classification heads."""


def build_torchvision(name: str, pretrained: bool, maps: bool) -> LibraryNetwork:
    """A classification network of torchvision, headless.

    Input size and normalisation are those of the network's default weights.

    Raises:
        MissingExtraError: If torchvision is not installed.
        InputError: If it has no such network, or feature maps are asked for.
    """
    models: Any = import_library("torchvision").models
    if name not in models.list_models(module=models):
        raise InputError(f"model_name: expected a network that torchvision has, found {name!r}")
    if maps:
        raise InputError("pooling: expected a timm network, found one of torchvision")

    def make() -> nn.Module:
        with warnings.catch_warnings():  # That random weights will be others one day.
            warnings.simplefilter("ignore", FutureWarning)
            network: nn.Module = models.get_model(name, weights="DEFAULT" if pretrained else None)
        return network

    network = without_head(built(f"torchvision:{name}", pretrained, make), name)
    wants = models.get_model_weights(name).DEFAULT.transforms()
    # A vision transformer takes images of one size only; the weights may be for another.
    size = getattr(network, "image_size", wants.crop_size[0])
    return LibraryNetwork(network, size, tuple(wants.mean), tuple(wants.std))


def without_head(network: nn.Module, name: str) -> nn.Module:
    """The network with its last learned layer, the one that gives the classes, taken out.

    What a head has before that layer (pooling, norms, hidden layers) stays.

    Args:
        network: One of torchvision's; changed in place.
        name: What it is called in the error.

    Raises:
        InputError: If it has no head that is known here.
    """
    head = next((h for h in _HEADS if isinstance(getattr(network, h, None), nn.Module)), None)
    layers = [
        key
        for key, layer in network.named_modules()
        if head is not None
        and (key == head or key.startswith(f"{head}."))
        and isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    if not layers:
        raise InputError(f"torchvision:{name}: it has no classification head that is known here")
    parent, _, last = layers[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network
