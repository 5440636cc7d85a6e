"""Reductions over axes, and the norms built on them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value, operator_of

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
    value, axes = call.tensor(0), call.integers("axes", 1)
    keepdims = bool(call.attribute("keepdims", 1))
    nothing = bool(call.attribute("noop_with_empty_axes", 0))
    if not axes and nothing:
        return value
    axes = axes or tuple(range(value.rank))
    return call.emit(_REDUCTIONS[call.node.operator], value, axes, keepdims)


def _global_max(tensor: Tensor) -> Tensor:
    return tensor.amax(tuple(range(2, tensor.dim())), True)


def _global_mean(tensor: Tensor) -> Tensor:
    return tensor.mean(tuple(range(2, tensor.dim())), True)


def _lp_normalization(tensor: Tensor, axis: int = -1, p: int = 2) -> Tensor:
    return F.normalize(tensor, p, axis)


def batch_normalization(
    tensor: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """BatchNormalization-15 outside training, where ``momentum`` has no use."""
    return F.batch_norm(tensor, mean, variance, scale, bias, training=False, eps=epsilon)


def _batch_normalization(call: Call) -> Value:
    call.require("training_mode", 0, [0])
    return operator_of(batch_normalization)(call)


def _instance_normalization(
    tensor: Tensor, scale: Tensor, bias: Tensor, epsilon: float = 1e-5
) -> Tensor:
    return F.instance_norm(tensor, weight=scale, bias=bias, eps=epsilon)


def _layer_norm(
    tensor: Tensor, scale: Tensor, bias: Tensor | None = None, axis: int = -1, epsilon: float = 1e-5
) -> Tensor:
    if scale.shape != tensor.shape[axis:]:
        raise ValueError(
            f"scale of shape {tuple(scale.shape)} is not supported, expected that of the "
            "normalised axes"
        )
    return F.layer_norm(tensor, scale.shape, scale, bias, epsilon)


def _layer_normalization(call: Call) -> Value:
    call.require("stash_type", 1, [1])
    return operator_of(_layer_norm)(call)


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "GlobalAveragePool": operator_of(_global_mean),
    "GlobalMaxPool": operator_of(_global_max),
    "LpNormalization": operator_of(_lp_normalization),
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": operator_of(_instance_normalization),
    "LayerNormalization": _layer_normalization,
}
