"""The losses of SSCD (Pizzi et al., CVPR 2022): contrastive and entropy.

Both take the features of two views of the same ``B`` images, ``(B, d)`` each, of unit length, and
compute in float32.
"""

import torch
import torch.nn.functional as F

TEMPERATURE = 0.05
"""SSCD's (section 4.1)."""

_NEAREST = 1e-8


def contrast(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent: the other view of an image is told from all others of the batch.

    ``-mean log(exp(z·z'/t) / sum exp(z·x/t))`` over the ``2 B`` features, where ``x`` runs over all
    others (Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, equation 1).
    """
    features = torch.cat([first, second]).float()
    count = len(first)
    scores = features @ features.T / temperature
    scores = scores.masked_fill(_same(2 * count, features.device), -torch.inf)
    other = torch.arange(2 * count, device=features.device).roll(count)
    return F.cross_entropy(scores, other)


def entropy(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """KoLeo: ``-mean log(distance to the nearest feature of another image)``.

    The estimate of Kozachenko and Leonenko of the differential entropy, negated (SSCD, section
    4.2): it falls as features spread over the sphere. 0 where all nearest are at distance 1.
    """
    features = torch.cat([first, second]).float()
    count = len(first)
    similarities = features @ features.T
    image = torch.arange(2 * count, device=features.device) % count
    nearest = similarities.masked_fill(image[:, None] == image[None, :], -torch.inf).amax(dim=1)
    return -0.5 * (2.0 - 2.0 * nearest).clamp(min=_NEAREST).log().mean()


def _same(count: int, device: torch.device) -> torch.Tensor:
    return torch.eye(count, dtype=torch.bool, device=device)
