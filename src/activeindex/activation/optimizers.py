"""Optimisers and schedulers from strings such as ``Adam,lr=1e-0``."""

import ast
import importlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch

from activeindex.errors import InputError, reason_of


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
        # Not of the base class, which schedulers ask for: its methods import torch's compiler and
        # sympy, which takes seconds in every process.
        self.defaults = {"lr": lr, "momentum": momentum}
        self.state = defaultdict(dict)
        self.param_groups = [{"params": list(params), **self.defaults}]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; see :meth:`torch.optim.Optimizer.zero_grad`."""
        for group in self.param_groups:
            for tensor in group["params"]:
                tensor.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; see :meth:`torch.optim.Optimizer.step`."""
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


_ROW_BY_ROW = frozenset(
    {"ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"}
    | {"Rprop", "SGD", NormedMomentum.__name__}
)

_FOR_SPARSE_GRADIENTS = frozenset({"SparseAdam"})


def moves_rows_alone(text: str) -> bool:
    """Tell whether an optimiser moves each row of a tensor as if it were alone.

    Those with a norm per tensor (LAMB, LARS) or a search along a line (L-BFGS) do not.
    """
    return parse_call(text, "optimizer")[0] in _ROW_BY_ROW


def parse_call(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """Split ``"Name,key=value,..."`` into the name and its arguments.

    The values are Python literals.

    Commas inside brackets belong to the value: ``"Adam,lr=1e-0,betas=(0.9,0.99)"``.

    Raises:
        InputError: If the text has another form.
    """
    name, _, arguments = text.partition(",")
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not name.strip().isidentifier():
            raise ValueError(text)
        values = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(
            f"{option}: expected a name and arguments such as 'Adam,lr=1e-0', found {text!r}"
        ) from None
    return name.strip(), values


def build_optimiser(text: str, tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
    """A torch or timm optimiser over ``tensors``, or :class:`NormedMomentum`.

    Raises:
        InputError: If there is none of that name, or it refuses its arguments.
    """
    name, arguments = parse_call(text, "optimizer")
    if name in _FOR_SPARSE_GRADIENTS:
        raise InputError(f"optimizer: expected one for dense gradients, found {name!r}")
    ours = name == NormedMomentum.__name__
    make = NormedMomentum if ours else _find(name, "optimizer", torch.optim, "timm.optim")
    optimiser: torch.optim.Optimizer = _call(make, "optimizer", text, tensors, arguments)
    return optimiser


def build_scheduler(text: str | None, optimiser: torch.optim.Optimizer) -> Callable[[int], None]:
    """A torch or timm learning-rate scheduler.

    Returns:
        A function to call after each step with the number of steps taken so far; it does nothing
        when ``text`` is None.

    Raises:
        InputError: If there is none of that name, or it refuses its arguments.
    """
    if text is None:
        return lambda _: None
    name, arguments = parse_call(text, "scheduler")
    make = _find(name, "scheduler", torch.optim.lr_scheduler, "timm.scheduler")
    scheduler = _call(make, "scheduler", text, optimiser, arguments)
    torchs = isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)

    def advance(steps: int) -> None:
        try:
            scheduler.step() if torchs else scheduler.step(steps)
        except (TypeError, ValueError, RuntimeError) as error:
            # E.g. one that wants a metric, or was made for fewer steps.
            raise InputError(f"scheduler {text!r}: {reason_of(error)}") from None

    return advance


def _find(name: str, option: str, ours: ModuleType, timms: str) -> Callable[..., Any]:
    if not name.startswith("_") and isinstance(make := getattr(ours, name, None), type):
        return make
    try:
        theirs = importlib.import_module(timms)
    except ModuleNotFoundError:
        raise InputError(
            f"{option}: expected a torch {option}, or a timm one where the package timm is "
            f"installed, found {name!r}"
        ) from None
    if isinstance(make := getattr(theirs, name, None), type):
        return make
    raise InputError(f"{option}: expected a torch or timm {option}, found {name!r}")


def _call(
    make: Callable[..., Any], option: str, text: str, first: Any, arguments: dict[str, Any]
) -> Any:
    try:
        return make(first, **arguments)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise InputError(f"{option} {text!r}: {reason_of(error)}") from None


def _unit(tensor: torch.Tensor) -> torch.Tensor:
    """Rows at a root mean square of one; zeros stay zeros."""
    size = tensor.square().mean(dim=tuple(range(1, tensor.dim())), keepdim=True).sqrt()
    return tensor / size.clamp(min=torch.finfo(tensor.dtype).tiny)
