"""Pooling of feature maps into vectors."""

import math
from dataclasses import dataclass

import torch

from activeindex.errors import InputError, ShapeError


def gem(maps: torch.Tensor, p: float, eps: float = 1e-6) -> torch.Tensor:
    """Generalised mean over positions: ``mean(max(x, eps)^p)^(1/p)``.

    The mean for p = 1, the maximum in the limit (Radenovic et al., Fine-tuning CNN Image Retrieval
    with No Human Annotation, TPAMI 2019, section 3.2).

    Args:
        maps: ``(B, C, H, W)``; values below ``eps`` count as ``eps``.
        p: Above 0.
        eps: Above 0; keeps the gradient finite where a channel is silent.

    Returns:
        ``(B, C)``.
    """
    return maps.clamp(min=eps).pow(p).mean(dim=(2, 3)).pow(1.0 / p)


@dataclass(frozen=True)
class Pooling:
    """Pooling of feature maps ``(B, C, H, W)`` to vectors ``(B, C)``.

    Attributes:
        p: The exponent of :func:`gem`; None for the plain mean. 3 is usual for copy detection
            (SSCD pools so; Pizzi et al., CVPR 2022).
    """

    p: float | None = 3.0

    def __post_init__(self) -> None:
        if self.p is not None and not (math.isfinite(self.p) and self.p > 0):
            raise InputError(f"pooling: expected an exponent above 0, found {self.p}")

    @classmethod
    def parse(cls, text: str) -> "Pooling":
        """Read ``mean``, ``gem`` or ``gem:P``.

        Raises:
            InputError: If the text is something else.
        """
        if text == "mean":
            return cls(None)
        kind, colon, exponent = text.partition(":")
        try:
            if kind == "gem":
                return cls(float(exponent)) if colon else cls()
        except ValueError as error:
            if isinstance(error, InputError):
                raise
        raise InputError(f"pooling: expected mean, gem or gem:P, found {text!r}")

    def __str__(self) -> str:
        return "mean" if self.p is None else f"gem:{self.p:g}"

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool ``(B, C, H, W)`` to ``(B, C)``.

        Raises:
            ShapeError: If the input is no feature map.
        """
        if maps.dim() != 4:
            raise ShapeError("pooling of the network's output", ("B", "C", "H", "W"), maps.shape)
        return maps.mean(dim=(2, 3)) if self.p is None else gem(maps, self.p)
