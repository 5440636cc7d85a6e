"""Elementwise operators, activations, matrix products, reductions and norms."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value, operator_of


def _softmax_from(tensor: Tensor, axis: int = 1) -> Tensor:
    """Softmax over the axes from ``axis`` on, taken as one (before operator set 13)."""
    flat = tensor.flatten(axis) if tensor.dim() > 0 else tensor
    return torch.softmax(flat, -1).reshape(tensor.shape)


def _prod(tensor: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((axis % tensor.dim() for axis in axes), reverse=True):
        tensor = tensor.prod(axis, keepdim)
    return tensor


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL1": lambda x, axes, keepdim: x.abs().sum(axes, keepdim),
    "ReduceL2": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim),
    "ReduceSumSquare": lambda x, axes, keepdim: x.square().sum(axes, keepdim),
    "ReduceProd": _prod,
}

_FORMULAS: dict[str, Callable[..., Tensor]] = {
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
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "Elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: torch.clamp(x * alpha + beta, 0.0, 1.0),
    "Gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.dim())), True),
    "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.dim())), True),
    "LpNormalization": lambda x, axis=-1, p=2: F.normalize(x, p, axis),
    "InstanceNormalization": lambda x, scale, bias, epsilon=1e-5: F.instance_norm(
        x, weight=scale, bias=bias, eps=epsilon
    ),
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


def formula(name: str, *inputs: Any, **options: Any) -> Tensor:
    """Evaluate an operator of the tables; generated code cannot import their lambdas."""
    return (_FORMULAS.get(name) or _REDUCTIONS[name])(*inputs, **options)


def _by_formula(call: Call) -> Value:
    name = call.node.operator
    return call.emit(formula, name, *call.tensors(), **call.options(_FORMULAS[name]))


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
    return _by_formula(call) if call.opset >= 13 else operator_of(_softmax_from)(call)


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


def _reduce(call: Call) -> Value:
    value, axes = call.tensor(0), call.integers("axes", 1)
    keepdims = bool(call.attribute("keepdims", 1))
    if call.attribute("noop_with_empty_axes", 0) and not axes:
        return value
    axes = axes or tuple(range(value.rank))
    return call.emit(formula, call.node.operator, value, axes, keepdims)


def batch_normalization(
    tensor: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float = 1e-5,
) -> Tensor:
    """BatchNormalization-15 outside training."""
    return F.batch_norm(tensor, mean, variance, scale, bias, training=False, eps=epsilon)


def _layer_norm(
    tensor: Tensor, scale: Tensor, bias: Tensor | None = None, axis: int = -1, epsilon: float = 1e-5
) -> Tensor:
    if scale.shape != tensor.shape[axis:]:
        raise ValueError(
            f"scale of shape {tuple(scale.shape)} is not supported, expected that of the "
            "normalised axes"
        )
    return F.layer_norm(tensor, scale.shape, scale, bias, epsilon)


def _rms_norm(tensor: Tensor, scale: Tensor, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
    axes = tuple(range(axis % tensor.dim(), tensor.dim()))
    return tensor * torch.rsqrt(tensor.square().mean(axes, True) + epsilon) * scale


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    is_causal: int = 0,
    scale: float = 0.0,
    q_num_heads: int = 0,
    kv_num_heads: int = 0,
) -> Tensor:
    """Attention-23 of heads ``(B, heads, length, d)``, or of ``(B, length, heads * d)``."""
    if past_key is not None or past_value is not None:
        raise ValueError("past keys and values are not supported")
    flat = query.dim() == 3
    if flat:
        heads = (q_num_heads, kv_num_heads, kv_num_heads)
        query, key, value = (
            it.reshape(*it.shape[:2], count, -1).transpose(1, 2)
            for it, count in zip((query, key, value), heads, strict=True)
        )
    out = F.scaled_dot_product_attention(
        query, key, value, mask, is_causal=bool(is_causal), scale=scale or None, enable_gqa=True
    )
    return out.transpose(1, 2).flatten(2) if flat else out


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(_FORMULAS, _by_formula),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_PAIRWISE, _variadic),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "Relu": operator_of(torch.relu),
    "BatchNormalization": operator_of(batch_normalization),
    "LayerNormalization": operator_of(_layer_norm),
    "RMSNormalization": operator_of(_rms_norm),
    "Attention": operator_of(_attention),
    "Div": _div,
    "Clip": _clip,
    "Softmax": _softmax_of_set,
    "Gemm": _gemm,
}
