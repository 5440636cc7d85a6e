"""Batches of the bank on the training device."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from activeindex.extractors.lite0.trunk import MEAN, STD
from training.views import Bank

_SPARE = 40 << 30
"""Bytes of a GPU's memory that the training itself may need."""


class Batches:
    """Rows of a bank, as 8-bit tensors on a device.

    The whole bank is put on a GPU that has room for it, so that the loop waits for no data.

    Args:
        bank: ``(N, K + 1, 3, S, S)``.
        device: Device of the batches.
    """

    def __init__(self, bank: Bank, device: torch.device) -> None:
        self.count, self.slots = bank.shape[:2]
        self.size = bank.shape[-1]
        self.device = device
        self._bank = bank
        self._resident: torch.Tensor | None = None
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if bank.nbytes + _SPARE < free:
                self._resident = torch.empty(bank.shape, dtype=torch.uint8, device=device)
                for start in range(0, self.count, 256):
                    rows = torch.from_numpy(np.ascontiguousarray(bank[start : start + 256]))
                    self._resident[start : start + len(rows)] = rows.to(device)

    @property
    def resident(self) -> bool:
        """True if the bank is on the device."""
        return self._resident is not None

    def pixels(self, rows: torch.Tensor, slots: torch.Tensor | int) -> torch.Tensor:
        """Return 8-bit images ``(B, 3, S, S)``, one slot of each row; both on the CPU."""
        chosen = slots if isinstance(slots, torch.Tensor) else torch.full_like(rows, slots)
        if self._resident is not None:
            return self._resident[rows.to(self.device), chosen.to(self.device)]
        return torch.from_numpy(self._bank[rows.numpy(), chosen.numpy()]).to(self.device)

    def images(
        self, rows: torch.Tensor, slot: int, size: int, batch: int = 256
    ) -> Iterator[torch.Tensor]:
        """Yield images ``(B, 3, size, size)`` in [0, 1] of one slot."""
        for part in torch.split(rows, batch):
            images = self.pixels(part, slot).float() / 255.0
            if size != self.size:
                images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
            yield images


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Normalise images ``(B, 3, H, W)`` in [0, 1] for the network."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
