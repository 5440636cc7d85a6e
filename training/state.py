"""State of a run, and its checkpoint."""

import copy
from pathlib import Path
from typing import Any

import torch

from activeindex.errors import InputError, reason_of
from activeindex.extractors.lite0.descriptor import Descriptor
from activeindex.runtime.files import whole_file


class State:
    """Network, its average, optimizer, and progress of a run.

    Args:
        network: Network to train, on its device.
        weight_decay: Weight decay of matrices and filters; biases and norms have none.
        decay: Decay of the average, which moves by ``1 - decay`` towards the network each step, by
            more in the first steps.

    Attributes:
        average: Moving average of the network, the result of the training.
        step: Steps done.
        elapsed: Seconds of training so far, of earlier, interrupted calls too.
    """

    def __init__(self, network: Descriptor, weight_decay: float, decay: float) -> None:
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.step = 0
        self.elapsed = 0.0
        self._decay = decay
        parameters = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        on_gpu = parameters[0].device.type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, fused=on_gpu)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the network, running statistics of norms included."""
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        pairs = zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        )
        for mean, value in pairs:
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def save(self, path: Path, settings: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all."""
        parts = {
            "settings": settings,
            "step": self.step,
            "elapsed": self.elapsed,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with whole_file(path) as beside:
            torch.save(parts, beside)

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        """Restore the state from a checkpoint.

        Raises:
            InputError: If the file is something else, or of a run with other settings.
        """
        device = next(self.network.parameters()).device
        try:
            parts = torch.load(path, map_location=device, weights_only=True)
            other = {
                key: parts["settings"].get(key)
                for key, value in settings.items()
                if parts["settings"].get(key) != value
            }
        except Exception as error:  # The reader meets broken bytes with errors of a dozen types.
            raise InputError(f"{path}: expected a checkpoint ({reason_of(error)})") from None
        if other:
            found = ", ".join(f"{key} {value}" for key, value in other.items())
            raise InputError(
                f"output_dir {path.parent}: holds a run with other settings ({found}); give another"
            )
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.step, self.elapsed = int(parts["step"]), float(parts["elapsed"])
