"""Elementwise operators, activations and matrix products."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value, operator_of


def _leaky_relu(tensor: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(tensor, alpha)


def _elu(tensor: Tensor, alpha: float = 1.0) -> Tensor:
    return F.elu(tensor, alpha)


def _prelu(tensor: Tensor, slope: Tensor) -> Tensor:
    return torch.where(tensor < 0, tensor * slope, tensor)


def _hard_sigmoid(tensor: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(tensor * alpha + beta, 0.0, 1.0)


def _gelu(tensor: Tensor, approximate: str = "none") -> Tensor:
    return F.gelu(tensor, approximate=approximate)


def _softmax(tensor: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(tensor, axis)


def _softmax_from(tensor: Tensor, axis: int = 1) -> Tensor:
    """Softmax over the axes from ``axis`` on, taken as one (before operator set 13)."""
    flat = tensor.flatten(axis) if tensor.dim() > 0 else tensor
    return torch.softmax(flat, -1).reshape(tensor.shape)


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "HardSwish": F.hardswish,
    "Softplus": F.softplus,
    "Mish": F.mish,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Reciprocal": torch.reciprocal,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "PRelu": _prelu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "MatMul": torch.matmul,
    "Where": torch.where,
}

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Pow": operator.pow,
    "Equal": operator.eq,
}

_PAIRWISE: dict[str, Callable[..., Tensor]] = {
    "Min": torch.minimum,
    "Max": torch.maximum,
    "Sum": operator.add,
}


def _operands(call: Call) -> tuple[Any, Any]:
    first, second = call.input(0), call.input(1)
    if first.is_constant and second.is_constant:
        return first, second
    return call.scalar_or_tensor(0, second.rank), call.scalar_or_tensor(1, first.rank)


def _binary(call: Call) -> Value:
    return call.emit(_BINARY[call.node.operator], *_operands(call))


def _div(call: Call) -> Value:
    first, second = call.tensor(0), call.tensor(1)
    if first.example.is_floating_point() or second.example.is_floating_point():
        return call.emit(operator.truediv, *_operands(call))
    return call.emit(torch.div, first, second, rounding_mode="trunc")


def _variadic(call: Call) -> Value:
    values = [call.tensor(position) for position in range(len(call.inputs))]
    return functools.reduce(functools.partial(call.emit, _PAIRWISE[call.node.operator]), values)


def _clip(call: Call) -> Value:
    bounds = [
        None if call.optional(position) is None else call.constant(position, meaning).item()
        for position, meaning in ((1, "minimum"), (2, "maximum"))
    ]
    if bounds == [None, None]:
        return call.input(0)
    return call.emit(torch.clamp, call.tensor(0), *bounds)


def _softmax_of_set(call: Call) -> Value:
    return operator_of(_softmax if call.opset >= 13 else _softmax_from)(call)


def gemm(a: Tensor, b: Tensor, c: Tensor | None, alpha: float, beta: float) -> Tensor:
    """Compute alpha * a @ b + beta * c."""
    product = alpha * (a @ b)
    return product if c is None else product + beta * c


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute rows @ weight.T + bias, for (B, K) and (N, K), each row on its own.

    One matrix product for all rows would round differently from batch size to batch size; here
    the feature of an image does not depend, in its last bit, on the images beside it.
    """
    products = torch.bmm(rows.unsqueeze(1), weight.t().expand(rows.shape[0], -1, -1)).squeeze(1)
    return products if bias is None else products + bias


def _gemm(call: Call) -> Value:
    a, b, c = call.tensor(0), call.tensor(1), call.optional(2)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        a = call.emit(torch.t, a)
    transposed = bool(call.attribute("transB", 0))
    columns = b.example.shape[0 if transposed else 1]
    plain_bias = c is None or (beta == 1 and tuple(c.example.shape) == (columns,))
    if alpha == 1 and b.is_constant and plain_bias:
        return call.emit(linear, a, b if transposed else call.emit(torch.t, b), c)
    return call.emit(gemm, a, call.emit(torch.t, b) if transposed else b, c, alpha, beta)


OPERATORS: dict[str, Operator] = {
    **{name: operator_of(function) for name, function in _FUNCTIONS.items()},
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_PAIRWISE, _variadic),
    "Div": _div,
    "Clip": _clip,
    "Softmax": _softmax_of_set,
    "Gemm": _gemm,
}
