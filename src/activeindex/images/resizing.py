"""From any size to the extractor's."""

import torch
import torch.nn.functional as F


def resize_square(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resizes ``(3, H, W)`` or ``(B, 3, H, W)`` to a square of ``size`` pixels; keeps gradients.

    Bilinear with antialiasing, the aspect ratio is not kept. The weights of every output pixel sum
    to one, so resizing commutes with a normalisation per channel: this is the paper's
    resize(N(x)) in [0, 1].
    """
    batched = image.unsqueeze(0) if image.dim() == 3 else image
    if batched.shape[-2:] != (size, size):
        batched = F.interpolate(
            batched, size=(size, size), mode="bilinear", align_corners=False, antialias=True
        )
    return batched.squeeze(0) if image.dim() == 3 else batched
