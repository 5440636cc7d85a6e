"""Networks of timm."""

from typing import Any

from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.zoo.building import LibraryNetwork, built, import_library
from activeindex.extractors.zoo.hub import reachable_or_offline


def build_timm(name: str, pretrained: bool, maps: bool) -> LibraryNetwork:
    """A network of timm, headless.

    Input size and normalisation are those of the network's default weights, or of the weights
    that a tag behind a point names (``resnet50.a1_in1k``).

    Raises:
        MissingExtraError: If timm is not installed.
        InputError: If it has no such network, or none with such weights.
    """
    timm: Any = import_library("timm")
    if not timm.is_model(name):
        raise InputError(f"model_name: expected a network that timm has, found {name!r}")
    options: dict[str, Any] = {"global_pool": ""} if maps else {}

    def make() -> nn.Module:
        if not pretrained:
            network: nn.Module = timm.create_model(name, num_classes=0, **options)
            return network
        with reachable_or_offline():
            network = timm.create_model(name, pretrained=True, num_classes=0, **options)
            return network

    network = built(f"timm:{name}", pretrained, make)
    wants = timm.data.resolve_model_data_config(network)
    return LibraryNetwork(
        network,
        wants["input_size"][-1],
        tuple(wants["mean"]),
        tuple(wants["std"]),
        channels_last=maps and getattr(network, "output_fmt", "NCHW") == "NHWC",
    )
