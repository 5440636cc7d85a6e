"""What an image may be changed by at most, as its reader sees it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from activeindex.errors import InputError
from activeindex.images.quality import Quality, largest_changes, psnrs, ssims

_NEARLY_NOTHING = 1e-6
"""An SSIM that every image has."""


@dataclass(frozen=True)
class Budget:
    """Bounds that every released image keeps, measured on its file as written.

    A bound limits the distortion and never enlarges it: an image that the settings change by less
    is released as it is.

    Attributes:
        psnr: Smallest PSNR in dB; None for any.
        ssim: Smallest SSIM, at most 1; None for any.
        linf: Largest change of a pixel value in 8-bit levels; None for any.
        beyond_codec: Whether the bounds are on what activation adds to what a lossy file format
            loses by itself, rather than on both together.
    """

    psnr: float | None = None
    ssim: float | None = None
    linf: int | None = None
    beyond_codec: bool = False

    def __post_init__(self) -> None:
        """Checks every bound.

        Raises:
            InputError: Naming the bound, what was found and what was expected.
        """
        if self.psnr is not None and not 0 < self.psnr < float("inf"):
            raise InputError(f"psnr: expected a positive number of dB, found {self.psnr}")
        if self.ssim is not None and not 0 < self.ssim < 1:
            raise InputError(f"ssim: expected a number between 0 and 1, found {self.ssim}")
        if self.linf is not None and not 1 <= self.linf <= 255:
            raise InputError(f"linf: expected 1 to 255 levels, found {self.linf}")

    def __bool__(self) -> bool:
        return (self.psnr, self.ssim, self.linf) != (None, None, None)

    def beyond(self, lost: Quality) -> "Budget":
        """The bounds on both together, for a file that loses ``lost`` by itself."""
        psnr, ssim, linf = self.psnr, self.ssim, self.linf
        if psnr is not None:
            psnr = -10.0 * math.log10(10.0 ** (-psnr / 10.0) + 10.0 ** (-lost.psnr / 10.0))
        if ssim is not None:
            ssim = max(ssim + lost.ssim - 1.0, _NEARLY_NOTHING)
        if linf is not None:
            linf = min(linf + lost.linf, 255)
        return Budget(psnr, ssim, linf)

    def __str__(self) -> str:
        bounds = (("psnr >=", self.psnr), ("ssim >=", self.ssim), ("linf <=", self.linf))
        named = ", ".join(f"{name} {bound}" for name, bound in bounds if bound is not None)
        return f"{named} beyond the codec" if named and self.beyond_codec else named


NO_BUDGET = Budget()


def kept(
    budgets: Sequence[Budget], original: torch.Tensor, changed: torch.Tensor
) -> npt.NDArray[np.bool_]:
    """Whether images keep every bound of their budgets, ``(B,)``; only what is bounded is measured.

    Args:
        budgets: One for each image; the same bounds are open in all of them.
        original: Levels ``(B, 3, H, W)``, uint8.
        changed: Levels of the same shape.
    """
    keep = np.ones(len(budgets), np.bool_)
    if budgets[0].psnr is not None:
        keep &= np.array(psnrs(original, changed)) >= [budget.psnr for budget in budgets]
    if budgets[0].linf is not None:
        keep &= np.array(largest_changes(original, changed)) <= [budget.linf for budget in budgets]
    if budgets[0].ssim is not None:
        keep &= np.array(ssims(original, changed)) >= [budget.ssim for budget in budgets]
    return keep
