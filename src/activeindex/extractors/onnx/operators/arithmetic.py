"""Elementwise operators, activations and matrix products."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value

_UNARY: dict[str, Callable[..., Tensor]] = {
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
}


def _unary(call: Call) -> Value:
    return call.emit(_UNARY[call.node.operator], call.tensor(0))


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Pow": operator.pow,
    "Equal": operator.eq,
}


def _operands(call: Call) -> tuple[Any, Any]:
    first, second = call.input(0), call.input(1)
    if first.is_constant and second.is_constant:
        return first, second
    return call.scalar_or_tensor(0, second.rank), call.scalar_or_tensor(1, first.rank)


def _binary(call: Call) -> Value:
    return call.emit(_BINARY[call.node.operator], *_operands(call))


def _div(call: Call) -> Value:
    first, second = (call.as_tensor(call.input(position)) for position in (0, 1))
    if first.example.is_floating_point() or second.example.is_floating_point():
        return call.emit(operator.truediv, *_operands(call))
    return call.emit(torch.div, first, second, rounding_mode="trunc")


_PAIRWISE: dict[str, Callable[..., Tensor]] = {
    "Min": torch.minimum,
    "Max": torch.maximum,
    "Sum": operator.add,
}


def _variadic(call: Call) -> Value:
    values = [call.tensor(position) for position in range(len(call.inputs))]
    function = _PAIRWISE[call.node.operator]
    return functools.reduce(lambda a, b: call.emit(function, a, b), values)


def _where(call: Call) -> Value:
    return call.emit(torch.where, *(call.tensor(position) for position in range(3)))


def _clip(call: Call) -> Value:
    bounds = []
    for position, meaning in ((1, "minimum"), (2, "maximum")):
        given = call.optional(position) is not None
        bounds.append(call.constant(position, meaning).item() if given else None)
    if bounds == [None, None]:
        return call.input(0)
    return call.emit(torch.clamp, call.tensor(0), bounds[0], bounds[1])


def _leaky_relu(call: Call) -> Value:
    return call.emit(F.leaky_relu, call.tensor(0), call.attribute("alpha", 0.01))


def _elu(call: Call) -> Value:
    return call.emit(F.elu, call.tensor(0), call.attribute("alpha", 1.0))


def prelu(tensor: Tensor, slope: Tensor) -> Tensor:
    """max(x, 0) + slope * min(x, 0), with a slope that broadcasts as in ONNX."""
    return torch.where(tensor < 0, tensor * slope, tensor)


def _prelu(call: Call) -> Value:
    return call.emit(prelu, call.tensor(0), call.tensor(1))


def hard_sigmoid(tensor: Tensor, alpha: float, beta: float) -> Tensor:
    """clamp(alpha * x + beta, 0, 1)."""
    return torch.clamp(tensor * alpha + beta, 0.0, 1.0)


def _hard_sigmoid(call: Call) -> Value:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return call.emit(hard_sigmoid, call.tensor(0), alpha, beta)


def _gelu(call: Call) -> Value:
    call.require("approximate", "none", ["none", "tanh"])
    return call.emit(F.gelu, call.tensor(0), approximate=call.attribute("approximate", "none"))


def softmax_from(tensor: Tensor, axis: int) -> Tensor:
    """Softmax over all the axes from ``axis`` on, taken as one (ONNX before operator set 13)."""
    flat = tensor.flatten(axis) if tensor.dim() > 0 else tensor
    return torch.softmax(flat, -1).reshape(tensor.shape)


def _softmax(call: Call) -> Value:
    if call.opset >= 13:
        return call.emit(torch.softmax, call.tensor(0), call.attribute("axis", -1))
    return call.emit(softmax_from, call.tensor(0), call.attribute("axis", 1))


def _matmul(call: Call) -> Value:
    return call.emit(torch.matmul, call.tensor(0), call.tensor(1))


def gemm(a: Tensor, b: Tensor, c: Tensor | None, alpha: float, beta: float) -> Tensor:
    """The sum alpha * a @ b + beta * c."""
    product = alpha * (a @ b)
    return product if c is None else product + beta * c


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product rows @ weight.T + bias for (B, K) rows and (N, K) weights, each row on its own.

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
    if transposed:
        b = call.emit(torch.t, b)
    return call.emit(gemm, a, b, c, alpha, beta)


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_PAIRWISE, _variadic),
    "Div": _div,
    "Where": _where,
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "PRelu": _prelu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Softmax": _softmax,
    "MatMul": _matmul,
    "Gemm": _gemm,
}
