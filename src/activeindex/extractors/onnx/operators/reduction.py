"""Reductions over axes, and the norms built on them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value

Axes = tuple[int, ...]


def _l1(tensor: Tensor, axes: Axes, keepdim: bool) -> Tensor:
    return tensor.abs().sum(axes, keepdim)


def _l2(tensor: Tensor, axes: Axes, keepdim: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor, 2, axes, keepdim)
    return norm


def _sum_square(tensor: Tensor, axes: Axes, keepdim: bool) -> Tensor:
    return tensor.square().sum(axes, keepdim)


def _prod(tensor: Tensor, axes: Axes, keepdim: bool) -> Tensor:
    for axis in sorted((axis % tensor.dim() for axis in axes), reverse=True):
        tensor = tensor.prod(axis, keepdim)
    return tensor


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _sum_square,
    "ReduceProd": _prod,
}


def _reduce(call: Call) -> Value:
    value = call.tensor(0)
    axes = call.integers("axes")
    if call.optional(1) is not None:
        axes = tuple(call.constant(1, "axes").tolist())
    keepdims = bool(call.attribute("keepdims", 1))
    nothing = bool(call.attribute("noop_with_empty_axes", 0))
    if not axes:
        if nothing:
            return value
        axes = tuple(range(value.rank))
    return call.emit(_REDUCTIONS[call.node.operator], value, axes, keepdims)


def global_max(tensor: Tensor) -> Tensor:
    """Maximum over the spatial axes, which are kept with size 1."""
    return tensor.amax(tuple(range(2, tensor.dim())), True)


def global_mean(tensor: Tensor) -> Tensor:
    """Mean over the spatial axes, which are kept with size 1."""
    return tensor.mean(tuple(range(2, tensor.dim())), True)


def _global(call: Call) -> Value:
    function = global_mean if call.node.operator == "GlobalAveragePool" else global_max
    return call.emit(function, call.tensor(0))


def _lp_normalization(call: Call) -> Value:
    axis, order = call.attribute("axis", -1), call.attribute("p", 2)
    return call.emit(F.normalize, call.tensor(0), order, axis)


def _batch_normalization(call: Call) -> Value:
    call.require("training_mode", 0, [0])
    call.attribute("momentum", 0.9)  # for training only
    epsilon = call.attribute("epsilon", 1e-5)
    scale, bias, mean, variance = (call.tensor(position) for position in range(1, 5))
    return call.emit(
        F.batch_norm, call.tensor(0), mean, variance, scale, bias, training=False, eps=epsilon
    )


def _instance_normalization(call: Call) -> Value:
    epsilon = call.attribute("epsilon", 1e-5)
    scale, bias = call.tensor(1), call.tensor(2)
    return call.emit(F.instance_norm, call.tensor(0), weight=scale, bias=bias, eps=epsilon)


def _layer_normalization(call: Call) -> Value:
    axis = call.attribute("axis", -1)
    epsilon = call.attribute("epsilon", 1e-5)
    call.require("stash_type", 1, [1])
    value, scale = call.tensor(0), call.tensor(1)
    bias: Any = call.tensor(2) if call.optional(2) is not None else None
    shape = tuple(scale.example.shape)
    if shape != tuple(value.example.shape[axis:]):
        raise call.refusal(
            f"scale of shape {shape} is not supported, expected that of the normalised axes"
        )
    return call.emit(F.layer_norm, value, shape, scale, bias, epsilon)


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
    "LpNormalization": _lp_normalization,
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
}
