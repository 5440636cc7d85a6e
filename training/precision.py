"""Precision of the forward pass: bfloat16 on a GPU, float32 elsewhere."""

import torch


def autocast(device: torch.device) -> torch.autocast:
    """Make the context for forward passes on ``device``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
