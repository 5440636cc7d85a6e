"""QuantizeLinear and DequantizeLinear as real-valued, differentiable operations.

Weights are dequantised at load time. An activation that is quantised and dequantised again becomes
a clamp to the range that its 8-bit codes can express, [(qmin - zp) * scale, (qmax - zp) * scale];
only the rounding in between is left out. The clamp cannot be left out: exporters fuse ReLUs into
it (zero point = qmin).
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Quantisation, Value

#: Smallest and largest code by the type of the zero point.
_RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-32768, 32767)}


def quantize_linear(call: Call) -> Value:
    """QuantizeLinear-10 to -23 of constants (rounded) or activations (clamped only)."""
    axis = call.attribute("axis", 1)
    scale, zero_point = _parameters(call)
    if zero_point.dtype not in _RANGES:
        raise call.refusal(f"codes of type {zero_point.dtype} are not supported")
    low, high = _RANGES[zero_point.dtype]
    value = call.tensor(0)
    if value.is_constant:
        return call.emit(_quantise, value, scale, zero_point, axis, low, high)
    quantisation = _of_activation(call, scale, zero_point)
    bounds = [(code - quantisation.zero_point) * quantisation.scale for code in (low, high)]
    clamped = call.emit(torch.clamp, value, bounds[0], bounds[1])
    return replace(clamped, quantisation=quantisation)


def dequantize_linear(call: Call) -> Value:
    """DequantizeLinear-10 to -23 of weights, quantised activations or 8-bit pixels."""
    axis = call.attribute("axis", 1)
    scale, zero_point = _parameters(call)
    value = call.tensor(0)
    if value.is_constant:
        return call.emit(_dequantise, value, scale, zero_point, axis)
    own = _of_activation(call, scale, zero_point)
    if value.quantisation is None:  # the pixels themselves are the codes
        return call.emit(_affine, value, own.scale, own.zero_point)
    if value.quantisation != own:
        raise call.refusal(f"dequantises by {own} what was quantised by {value.quantisation}")
    return replace(value, quantisation=None)


def _parameters(call: Call) -> tuple[Tensor, Tensor]:
    """Return the scale and the zero point, 0 where it is left out."""
    zero_point = torch.tensor(0, dtype=torch.uint8)
    if call.optional(2) is not None:
        zero_point = call.constant(2, "zero point")
    return call.constant(1, "scale"), zero_point


def _of_activation(call: Call, scale: Tensor, zero_point: Tensor) -> Quantisation:
    if scale.numel() != 1 or zero_point.numel() != 1:
        raise call.refusal("a scale per axis is supported for weights only, not for activations")
    return Quantisation(float(scale), int(zero_point))


def _along(parameter: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """Shape a scale or zero point to broadcast along ``axis`` of ``tensor``."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    shape = [1] * tensor.dim()
    shape[axis] = parameter.numel()
    return parameter.reshape(shape)


def _quantise(
    tensor: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int
) -> Tensor:
    codes = torch.round(tensor / _along(scale, tensor, axis))
    codes = codes + _along(zero_point, tensor, axis).to(tensor.dtype)
    return codes.clamp(low, high).to(zero_point.dtype)


def _dequantise(tensor: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    # int32 biases minus a zero point may need more than the 24 bits of a float.
    shifted = tensor.to(torch.int64) - _along(zero_point, tensor, axis).to(torch.int64)
    return shifted.to(scale.dtype) * _along(scale, tensor, axis)


def _affine(pixels: Tensor, scale: float, zero_point: int) -> Tensor:
    return (pixels - zero_point) * scale


def clamp_in_place(tensor: Tensor, low: float, high: float) -> Tensor:
    """Clamp in place, keeping only the output for the backward pass."""
    return F.hardtanh(tensor, low, high, inplace=True)


OPERATORS: dict[str, Operator] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
}
