"""Validation: recall of edited views of held-out images among all images."""

import torch

from activeindex.extractors.lite0.descriptor import Descriptor
from training.batches import Batches, normalised
from training.precision import autocast


@torch.no_grad()
def features_of(
    network: Descriptor, batches: Batches, rows: torch.Tensor, slot: int, size: int
) -> torch.Tensor:
    """Compute the features ``(n, d)`` of one slot of rows, at ``size`` pixels."""
    network.eval()
    with autocast(batches.device):
        parts = [network(normalised(images)) for images in batches.images(rows, slot, size)]
    return torch.cat(parts)


def recall(network: Descriptor, batches: Batches, held_out: torch.Tensor, size: int) -> float:
    """Measure R@1 of the held-out images' edited views among all unedited images.

    Args:
        network: Network; left in evaluation mode.
        batches: Batches of the whole bank.
        held_out: Rows of the held-out images, ``(n,)``.
        size: Side in pixels.
    """
    stored = features_of(network, batches, torch.arange(batches.count), 0, size)
    found = 0.0
    for slot in range(1, batches.slots):
        queries = features_of(network, batches, held_out, slot, size)
        nearest = (queries @ stored.T).argmax(dim=1).cpu()
        found += float((nearest == held_out).float().mean())
    edited: int = batches.slots - 1
    return found / edited
