"""Operators that move, cut, join, cast or create without arithmetic."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value, operator_of

Axes = tuple[int, ...]

_TYPES = {
    **dict.fromkeys((1, 10, 11, 16), torch.float32),
    **{2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64},
    9: torch.bool,
}


def reshape(tensor: Tensor, shape: Axes, allow_zero: bool) -> Tensor:
    """Reshape-14: -1 is inferred, and 0 keeps the input's size unless ``allow_zero``."""
    if not allow_zero:
        shape = tuple(tensor.shape[axis] if size == 0 else size for axis, size in enumerate(shape))
    return tensor.reshape(shape)


def _reshape(call: Call) -> Value:
    value, allow_zero = call.tensor(0), bool(call.attribute("allowzero", 0))
    shape = call.sizes(call.input(1), "shape")
    batch = call.builder.source.image.batch
    if isinstance(shape, tuple) and shape and not value.is_constant and not allow_zero:
        # Exported for a fixed batch, which is also the first size here: let it follow the batch.
        if shape[0] == batch and value.example.shape[0] == call.builder.image.example.shape[0]:
            shape = (0, *shape[1:])
        if 0 not in shape:
            return call.emit(torch.reshape, value, shape)
    return call.emit(reshape, value, shape, allow_zero)


def _flatten(tensor: Tensor, axis: int = 1) -> Tensor:
    axis = axis + tensor.dim() if axis < 0 else axis
    return tensor.reshape(math.prod(tensor.shape[:axis]), -1)


def _transpose(tensor: Tensor, perm: Axes = ()) -> Tensor:
    return tensor.permute(perm or tuple(reversed(range(tensor.dim()))))


def _squeeze(call: Call) -> Value:
    value, axes = call.tensor(0), call.integers("axes", 1)
    sizes = tuple(value.example.shape)
    if axes is None:
        batched = not value.is_constant and sizes[0] == call.builder.image.example.shape[0]
        axes = tuple(  # A batch of one stays.
            axis for axis, size in enumerate(sizes) if size == 1 and not (batched and axis == 0)
        )
    if any(sizes[axis] != 1 for axis in axes):
        raise call.refusal(f"axes {axes} of {sizes} are not all of size 1")
    return call.emit(torch.squeeze, value, axes)


def _unsqueeze(tensor: Tensor, axes: Axes) -> Tensor:
    """Insert axes of size 1 at positions counted in the result."""
    rank = tensor.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _concat(*tensors: Tensor, axis: int = 0) -> Tensor:
    return torch.cat(tensors, axis)


def part(tensor: Tensor, number: int, parts: int, axis: int) -> Tensor:
    """Return part ``number`` of ``parts`` of equal size, the last perhaps smaller."""
    size = tensor.shape[axis]
    length = -(-size // parts)
    start = min(number * length, size)
    return tensor.narrow(axis, start, min(length, size - start))


def _split(call: Call) -> list[Value]:
    value, axis = call.tensor(0), call.attribute("axis", 0)
    count = len(call.node.outputs)
    sizes = call.integers("split", 1)
    call.require("num_outputs", count, [count])
    if sizes is None:
        return [call.emit(part, value, number, count, axis) for number in range(count)]
    if len(sizes) != count or sum(sizes) != value.example.shape[axis]:
        raise call.refusal(f"parts {sizes} do not fit {tuple(value.example.shape)}, axis {axis}")
    starts = [sum(sizes[:number]) for number in range(count)]
    return [call.emit(torch.narrow, value, axis, *it) for it in zip(starts, sizes, strict=True)]


def _slice(
    tensor: Tensor, starts: Axes, ends: Axes, axes: Axes | None = None, steps: Axes | None = None
) -> Tensor:
    """Slice-13; negative steps reverse."""
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = tensor.shape[axis]
        first, last, stride = slice(start, end, step).indices(size)
        if stride > 0:
            index = (slice(None),) * (axis % tensor.dim())
            tensor = tensor[(*index, slice(first, max(first, last), stride))]
        else:
            kept = torch.arange(first, last, stride, device=tensor.device)
            tensor = tensor.index_select(axis, kept)
    return tensor


def _gather(tensor: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    axis = axis % tensor.dim()
    flat = torch.remainder(indices.reshape(-1), tensor.shape[axis])  # negative counts from the end
    shape = (*tensor.shape[:axis], *indices.shape, *tensor.shape[axis + 1 :])
    return tensor.index_select(axis, flat).reshape(shape)


def _shape(tensor: Tensor, start: int = 0, end: int | None = None) -> Axes:
    return tuple(tensor.shape[start:end])


def _expand(tensor: Tensor, shape: Axes) -> Tensor:
    """Expand-13: broadcasting in both directions."""
    rank = max(tensor.dim(), len(shape))
    own = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    asked = (1,) * (rank - len(shape)) + tuple(shape)
    pairs = zip(own, asked, strict=True)
    return tensor.expand([size if other == 1 else other for size, other in pairs])


def floats_like(tensor: Tensor, image: Tensor) -> Tensor:
    """Convert to floats of the dtype in which the network runs."""
    return tensor.to(image.dtype)


def _cast(call: Call) -> Value:
    code = call.attribute("to", 0)
    dtype = _TYPES.get(code)
    if dtype is None:
        raise call.refusal(f"casting to type {code} is not supported")
    value = call.tensor(0)
    if value.is_constant or not dtype.is_floating_point:
        return call.emit(torch.Tensor.to, value, dtype)
    if value.example.is_floating_point():
        return value  # 8-bit pixels are floats already, and all floats have the network's dtype
    return call.emit(floats_like, value, call.builder.image)


def _constant(call: Call) -> Value:
    names = ("value", "value_float", "value_int", "value_floats", "value_ints")
    for name in names:
        found: Any = call.attribute(name, None)
        if isinstance(found, torch.Tensor):
            return Value(found)
        if found is not None:
            dtype = torch.float32 if "float" in name else torch.int64
            return Value(torch.tensor(found, dtype=dtype))
    raise call.refusal(f"expected one of the attributes {', '.join(names)}")


def _constant_of_shape(call: Call) -> Value:
    shape = call.constant(0, "shape").tolist()
    value = call.attribute("value", torch.zeros(1))
    return call.emit(torch.full, tuple(shape), value.item(), dtype=value.dtype)


def _range(call: Call) -> Value:
    bounds = [call.constant(position, "bound") for position in range(3)]
    numbers = [bound.item() for bound in bounds]
    return call.emit(torch.arange, *numbers, dtype=bounds[0].dtype)


def _dropout(call: Call) -> Value:
    if call.optional(2) is not None and bool(call.constant(2, "training mode").item()):
        raise call.refusal("training mode is not supported")
    return call.input(0)


def _pad(
    tensor: Tensor,
    pads: Axes,
    value: float | None = None,
    axes: Axes | None = None,
    mode: str = "constant",
) -> Tensor:
    """Pad-18: ``pads`` holds the beginnings of ``axes``, then their ends."""
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    if mode not in modes:
        raise ValueError(f"mode={mode!r} is not supported, expected {' or '.join(modes)}")
    rank = tensor.dim()
    axes = tuple(range(rank)) if axes is None else tuple(axis % rank for axis in axes)
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    first = min((axis for axis, pair in pairs.items() if pair != (0, 0)), default=rank)
    flat = [size for axis in reversed(range(first, rank)) for size in pairs.get(axis, (0, 0))]
    if not flat:
        return tensor
    return F.pad(tensor, flat, modes[mode], (value or 0.0) if mode == "constant" else None)


CARRIERS = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split"}
    | {"Gather", "Dropout", "Expand"}
)
"""Operators that leave every element as it is, and hence also its quantisation."""

OPERATORS: dict[str, Operator] = {
    "Reshape": _reshape,
    "Flatten": operator_of(_flatten),
    "Transpose": operator_of(_transpose),
    "Squeeze": _squeeze,
    "Unsqueeze": operator_of(_unsqueeze, sizes_from=1),
    "Concat": operator_of(_concat),
    "Split": _split,
    "Slice": operator_of(_slice, sizes_from=1),
    "Gather": operator_of(_gather),
    "Shape": operator_of(_shape),
    "Size": operator_of(torch.numel),
    "Expand": operator_of(_expand, sizes_from=1),
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Identity": lambda call: call.input(0),
    "Dropout": _dropout,
    "Pad": operator_of(_pad, sizes_from=1),
}
