"""Whether edited views of held-out images are found among all images."""

import torch

from activeindex.extractors.lite0.descriptor import Descriptor
from training.batches import Batches, normalised
from training.precision import autocast


@torch.no_grad()
def features_of(
    network: Descriptor, batches: Batches, rows: torch.Tensor, slot: int, size: int
) -> torch.Tensor:
    """Features ``(n, d)`` of one slot of some rows of the bank, at ``size`` pixels."""
    network.eval()
    with autocast(batches.device):
        parts = [network(normalised(images)) for images in batches.images(rows, slot, size)]
    return torch.cat(parts)


def recall(network: Descriptor, batches: Batches, held_out: torch.Tensor, size: int) -> float:
    """R@1 of all edited views of the held-out images among all untouched images of the bank.

    Args:
        network: Left in evaluation mode.
        batches: Of the whole bank.
        held_out: Their rows, ``(n,)``.
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
