"""An optimiser whose steps have a length, not a sign."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from activeindex.errors import InputError


class NormedMomentum(torch.optim.Optimizer):
    """Gradient descent with momentum, every step of the same length.

    Each gradient is scaled to a root mean square of one, added to the decayed sum of those before,
    and the sum scaled likewise (the momentum iterative method of Dong et al., CVPR 2018, for the
    Euclidean norm). Adam's first steps are the signs of the gradient: every pixel moves by as much,
    also where that buys next to nothing. Here a pixel moves in proportion to what it buys, which
    for a given PSNR moves the feature further.

    Args:
        params: Tensors ``(B, ...)``, each row normed for itself.
        lr: Root mean square of a step, more than 0.
        momentum: Decay of the sum, 0 to below 1.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 0.3, momentum: float = 0.9
    ) -> None:
        if not 0 < lr < float("inf"):
            raise InputError(f"NormedMomentum: expected an lr of more than 0, found {lr}")
        if not 0 <= momentum < 1:
            raise InputError(f"NormedMomentum: expected a momentum from 0 to 1, found {momentum}")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step; see :meth:`torch.optim.Optimizer.step`."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for tensor in group["params"]:
                    if tensor.grad is not None:
                        self._move(tensor, tensor.grad, group["lr"], group["momentum"])
        return loss

    def _move(
        self, tensor: torch.Tensor, gradient: torch.Tensor, lr: float, momentum: float
    ) -> None:
        state = self.state[tensor]
        total = state.get("total")
        gradient = _unit(gradient)
        state["total"] = total = gradient if total is None else total.mul_(momentum).add_(gradient)
        tensor.sub_(_unit(total), alpha=lr)


def _unit(tensor: torch.Tensor) -> torch.Tensor:
    """Rows at a root mean square of one; zeros stay zeros."""
    size = tensor.square().mean(dim=tuple(range(1, tensor.dim())), keepdim=True).sqrt()
    return tensor / size.clamp(min=torch.finfo(tensor.dtype).tiny)
