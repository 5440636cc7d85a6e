"""The initial network: pretrained trunk, linear layer from PCA-whitening."""

import numpy as np
import torch

from activeindex.errors import InputError
from activeindex.extractors.lite0.descriptor import Descriptor
from activeindex.extractors.whitening import Whitening
from training.batches import Batches, normalised
from training.precision import autocast
from training.pretrained import pretrained_trunk

_ENOUGH = 4
"""Images per dimension from which on the whitening is fitted on unedited images alone."""


def check_enough(images: int, views: int, dimension: int) -> None:
    """Check that :func:`initial_network` will have enough views, before any work.

    Args:
        images: Number of training images.
        views: Edited views of each image.
        dimension: Dimension of the features.

    Raises:
        InputError: If there are not more views, untouched ones included, than dimensions.
    """
    if (seen := images * (views + 1)) <= dimension:
        raise InputError(
            f"dimension: expected less than the {seen} views of training images ({images} images, "
            f"each with {views} edited views), found {dimension}; raise --limit or --views, or "
            "lower --dimension"
        )


@torch.no_grad()
def initial_network(batches: Batches, rows: torch.Tensor, size: int, dimension: int) -> Descriptor:
    """Make the initial descriptor, on the device of ``batches``.

    Its linear layer whitens the pooled features of the training images; where these are few, of
    their edited views as well.

    Args:
        batches: Batches of the bank.
        rows: Rows to train on, ``(n,)``.
        size: Side in pixels that the network is meant for.
        dimension: Dimension of the features.

    Raises:
        InputError: If there are fewer views than dimensions.
        MissingExtraError: If the pretrained weights are not installed.
    """
    network = Descriptor(dimension)
    network.trunk.load_state_dict(pretrained_trunk().state_dict())
    network.eval().to(batches.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    slots = 1 if len(rows) >= _ENOUGH * dimension else batches.slots
    features = []
    with autocast(batches.device):
        for slot in range(slots):
            for images in batches.images(rows, slot, size):
                features.append(network.pooled(normalised(images)).float().cpu().numpy())
    whitening = Whitening.fit(np.concatenate(features), dimension)
    matrix = torch.from_numpy(whitening.matrix)
    network.head.weight.copy_(matrix)
    network.head.bias.copy_(-matrix @ torch.from_numpy(whitening.mean))
    return network
