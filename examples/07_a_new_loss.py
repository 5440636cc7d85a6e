"""Activate with a loss of your own: a function of a few lines."""

import torch
from pictures import pictures, trained_index

import activeindex as ai


def angle(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Maps features and targets, both ``(B, d)``, to losses ``(B,)``."""
    cosine = torch.nn.functional.cosine_similarity(features, targets, dim=1)
    return torch.acos(cosine.clamp(-0.999, 0.999))


for loss in ("cossim", angle):
    result = ai.activate(pictures() / "rocket.png", trained_index(), preset="fast", loss_f=loss)
    name = loss if isinstance(loss, str) else loss.__name__
    print(f"{name}: {result[0].distance_before:.3f} -> {result[0].distance_after:.3f}")

# On the command line: activeindex activate --loss_f package.module:angle …
