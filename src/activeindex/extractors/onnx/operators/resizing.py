"""Resize over the two spatial axes, as far as torch has the same arithmetic."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda source: (source - 0.5).ceil(),
    "round_prefer_ceil": lambda source: (source + 0.5).floor(),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def _spatial(call: Call, numbers: Any, axes: tuple[int, ...] | None, image: Value) -> Any:
    """Pick the numbers of axes 2 and 3 and refuse a change of the others."""
    shape = numbers.example if isinstance(numbers, Value) else numbers
    axes = tuple(range(4)) if axes is None else tuple(axis % 4 for axis in axes)
    if len(shape) != len(axes):
        raise call.refusal(f"{len(shape)} scales or sizes do not fit axes {axes}")
    if not {2, 3} <= set(axes):
        raise call.refusal(f"resizing axes {axes} is not supported, expected 2 and 3")
    for axis, number in zip(axes, shape, strict=True):
        kept = (1.0, image.example.shape[axis]) if isinstance(number, int) else (1.0,)
        if axis < 2 and number not in kept and axis != 0:
            raise call.refusal("resizing channels is not supported (is the image NHWC here?)")
    return call.emit(pick, numbers, axes) if isinstance(numbers, Value) else pick(numbers, axes)


def pick(numbers: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the numbers that belong to axes 2 and 3."""
    return tuple(numbers[axes.index(axis)] for axis in (2, 3))


def resize_nearest(
    tensor: Tensor, sizes: Any, scales: Any, coordinates: str, rounding: str
) -> Tensor:
    """Nearest neighbour with the coordinate transforms and roundings of Resize-19."""
    for axis in (2, 3):
        size = tensor.shape[axis]
        scale = sizes[axis - 2] / size if scales is None else scales[axis - 2]
        length = int(size * scale) if sizes is None else sizes[axis - 2]
        index = torch.arange(length, device=tensor.device, dtype=torch.float32)
        if coordinates == "align_corners":
            source = index * (size - 1) / max(length - 1, 1)
        elif coordinates == "asymmetric":
            source = index / scale
        elif coordinates == "pytorch_half_pixel" and length == 1:
            source = index * 0
        else:
            source = (index + 0.5) / scale - 0.5
        nearest = _ROUNDINGS[rounding](source).clamp(0, size - 1)
        tensor = tensor.index_select(axis, nearest.to(torch.int64))
    return tensor


def _resize(call: Call) -> Value:
    value = call.tensor(0)
    if value.rank != 4:
        raise call.refusal(f"resizing of {value.rank} axes is not supported, expected 4")
    mode = call.require("mode", "nearest", ["nearest", "linear", "cubic"])
    coordinates = call.require("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    rounding = call.require("nearest_mode", "round_prefer_floor", list(_ROUNDINGS))
    call.require("antialias", 0, [0])
    call.require("exclude_outside", 0, [0])
    call.require("keep_aspect_ratio_policy", "stretch", ["stretch"])
    call.attribute("extrapolation_value", 0.0)  # for tf_crop_and_resize only, refused above
    cubic_a = call.attribute("cubic_coeff_a", -0.75)
    axes = call.integers("axes")
    scales = sizes = None
    if (given := call.optional(3)) is not None:
        sizes = _spatial(call, call.sizes(given, "sizes"), axes, value)
    elif (given := call.optional(2)) is not None:
        scales = _spatial(call, call.sizes(given, "scales"), axes, value)
    else:
        raise call.refusal("it has neither scales nor sizes")
    if mode == "nearest":
        return call.emit(resize_nearest, value, sizes, scales, coordinates, rounding)
    if coordinates == "asymmetric":
        raise call.refusal(f"mode={mode!r} with coordinates 'asymmetric' is not supported")
    if mode == "cubic" and cubic_a != -0.75:
        raise call.refusal(f"cubic_coeff_a={cubic_a} is not supported, expected -0.75")
    smooth, align = f"bi{mode}", coordinates == "align_corners"
    return call.emit(F.interpolate, value, sizes, scales, mode=smooth, align_corners=align)


OPERATORS: dict[str, Operator] = {"Resize": _resize}
