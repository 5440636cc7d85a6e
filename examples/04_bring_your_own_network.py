"""Activate for a network of your own: any module or function from images to vectors."""

import torch
from pictures import collection, pictures
from torch import nn
from torch.nn import functional as F

import activeindex as ai


class ColourLayout(nn.Module):
    """Colours of 8 x 8 fields without their mean: a descriptor that needs no weights."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images ``(B, 3, S, S)`` to features ``(B, 192)`` of unit length."""
        fields = F.adaptive_avg_pool2d(images, 8)
        return F.normalize((fields - fields.mean(dim=(2, 3), keepdim=True)).flatten(1), dim=1)


# Pictures are resized to 64 x 64 and normalised with ImageNet's mean and std before the network.
extractor = ai.as_extractor(ColourLayout(), input_size=64, name="colour-layout")
print(extractor.identity)

index = ai.train_index(ai.extract(collection(), extractor), "IVF16,PQ8x8np")
print(ai.activate(pictures() / "coffee.png", index, extractor))

# The index knows whose features it was trained on.
try:
    ai.activate(pictures() / "coffee.png", index, "lite0_copy")
except ai.InputError as error:
    print(f"refused: {error}")
