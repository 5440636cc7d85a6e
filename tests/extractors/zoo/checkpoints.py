"""Checkpoints of library networks, as a training program would leave them."""

from pathlib import Path

import torch
from torch import nn


def checkpoint_of(network: nn.Module, folder: Path) -> Path:
    """A checkpoint of data-parallel training, its statistics of batches not those of the start."""
    generator = torch.Generator().manual_seed(0)
    weights = network.state_dict()
    for key, value in weights.items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1, generator=generator)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
    path = folder / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    return path
