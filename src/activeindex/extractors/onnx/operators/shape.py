"""Operators that move, cut, join, cast or create, without arithmetic on pixel values."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.sizes import element_count, shape_of
from activeindex.extractors.onnx.tracing import Call, Operator, Value

Axes = tuple[int, ...]

_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float32,
    11: torch.float32,
    16: torch.float32,
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


def flatten(tensor: Tensor, axis: int) -> Tensor:
    """Flatten-13: a matrix whose rows run over the axes before ``axis``."""
    axis = axis + tensor.dim() if axis < 0 else axis
    rows = 1
    for size in tensor.shape[:axis]:
        rows *= size
    return tensor.reshape(rows, -1)


def _flatten(call: Call) -> Value:
    value, axis = call.tensor(0), call.attribute("axis", 1)
    if axis == 1 and value.rank >= 2:
        return call.emit(torch.flatten, value, 1)
    return call.emit(flatten, value, axis)


def _transpose(call: Call) -> Value:
    value = call.tensor(0)
    order = call.integers("perm") or tuple(reversed(range(value.rank)))
    return call.emit(torch.permute, value, order)


def _axes(call: Call) -> Axes | None:
    """The axes of Squeeze or Unsqueeze: an attribute before operator set 13, then an input."""
    axes = call.integers("axes")
    if call.optional(1) is not None:
        axes = tuple(call.constant(1, "axes").tolist())
    return axes


def _squeeze(call: Call) -> Value:
    value, axes = call.tensor(0), _axes(call)
    if axes is None:
        sizes = tuple(value.example.shape)
        if not value.is_constant and value.example.shape[0] == call.builder.image.example.shape[0]:
            sizes = sizes[1:]  # a batch of one would be squeezed along
            axes = tuple(axis for axis, size in enumerate(sizes, 1) if size == 1)
        else:
            axes = tuple(axis for axis, size in enumerate(sizes) if size == 1)
    if any(value.example.shape[axis] != 1 for axis in axes):
        raise call.refusal(f"axes {axes} of {tuple(value.example.shape)} are not all of size 1")
    return call.emit(torch.squeeze, value, axes)


def unsqueeze(tensor: Tensor, axes: Axes) -> Tensor:
    """Inserts axes of size 1 at positions counted in the result."""
    rank = tensor.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _unsqueeze(call: Call) -> Value:
    axes = _axes(call)
    if axes is None:
        raise call.refusal("its axes are missing")
    return call.emit(unsqueeze, call.tensor(0), axes)


def _concat(call: Call) -> Value:
    parts = [call.tensor(position) for position in range(len(call.inputs))]
    return call.emit(torch.cat, parts, call.attribute("axis", 0))


def part(tensor: Tensor, number: int, parts: int, axis: int) -> Tensor:
    """Part ``number`` of a tensor split in ``parts`` of equal size, the last perhaps smaller."""
    size = tensor.shape[axis]
    length = -(-size // parts)
    start = min(number * length, size)
    return tensor.narrow(axis, start, min(length, size - start))


def _split(call: Call) -> list[Value]:
    value, axis = call.tensor(0), call.attribute("axis", 0)
    count = len(call.node.outputs)
    sizes = call.integers("split")
    if call.optional(1) is not None:
        sizes = tuple(call.constant(1, "split").tolist())
    call.require("num_outputs", count, [count])
    if sizes is None:
        return [call.emit(part, value, number, count, axis) for number in range(count)]
    if len(sizes) != count or sum(sizes) != value.example.shape[axis]:
        raise call.refusal(f"parts {sizes} do not fit {tuple(value.example.shape)}, axis {axis}")
    starts = [sum(sizes[:number]) for number in range(count)]
    return [
        call.emit(torch.narrow, value, axis, start, size)
        for start, size in zip(starts, sizes, strict=True)
    ]


def cut(tensor: Tensor, starts: Axes, ends: Axes, axes: Axes | None, steps: Axes | None) -> Tensor:
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


def _slice(call: Call) -> Value:
    arguments: list[Any] = []
    for position, meaning in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps")):
        given = call.optional(position)
        if given is None and position < 3:
            raise call.refusal(f"its {meaning} are missing")
        arguments.append(None if given is None else call.sizes(given, meaning))
    return call.emit(cut, call.tensor(0), *arguments)


def gather(tensor: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Gather-13: slices of ``tensor`` along ``axis``, in the shape of ``indices``."""
    axis = axis % tensor.dim()
    flat = torch.remainder(indices.reshape(-1), tensor.shape[axis])  # negative counts from the end
    shape = (*tensor.shape[:axis], *indices.shape, *tensor.shape[axis + 1 :])
    return tensor.index_select(axis, flat).reshape(shape)


def _gather(call: Call) -> Value:
    value, axis, indices = call.tensor(0), call.attribute("axis", 0), call.tensor(1)
    if indices.is_constant and indices.rank == 0:
        return call.emit(torch.select, value, axis, int(indices.example))
    return call.emit(gather, value, indices, axis)


def _shape(call: Call) -> Value:
    start = call.attribute("start", 0)
    end = call.attribute("end", None)
    return call.emit(shape_of, call.input(0), start, end)


def _size(call: Call) -> Value:
    return call.emit(element_count, call.input(0))


def expand(tensor: Tensor, shape: Axes) -> Tensor:
    """Expand-13: broadcasting in both directions."""
    rank = max(tensor.dim(), len(shape))
    own = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    asked = (1,) * (rank - len(shape)) + tuple(shape)
    pairs = zip(own, asked, strict=True)
    return tensor.expand([size if other == 1 else other for size, other in pairs])


def _expand(call: Call) -> Value:
    return call.emit(expand, call.tensor(0), call.sizes(call.input(1), "shape"))


def floats_like(tensor: Tensor, image: Tensor) -> Tensor:
    """Integers or booleans as floats of the dtype in which the network runs."""
    return tensor.to(image.dtype)


def _cast(call: Call) -> Value:
    code = call.attribute("to", 0)
    call.attribute("saturate", 1)
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
    return Value(torch.full(tuple(shape), value.item(), dtype=value.dtype))


def _range(call: Call) -> Value:
    bounds = [call.constant(position, "bound") for position in range(3)]
    return Value(torch.arange(*(bound.item() for bound in bounds), dtype=bounds[0].dtype))


def _identity(call: Call) -> Value:
    return call.input(0)


def _dropout(call: Call) -> Value:
    call.attribute("ratio", 0.5)
    call.attribute("seed", 0)
    if call.optional(2) is not None and bool(call.constant(2, "training mode").item()):
        raise call.refusal("training mode is not supported")
    return call.input(0)


def pad(tensor: Tensor, pads: Axes, axes: Axes | None, mode: str, value: float) -> Tensor:
    """Pad-18: ``pads`` holds the beginnings of ``axes``, then their ends."""
    rank = tensor.dim()
    axes = tuple(range(rank)) if axes is None else tuple(axis % rank for axis in axes)
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    first = min((axis for axis, pair in pairs.items() if pair != (0, 0)), default=rank)
    flat = [size for axis in reversed(range(first, rank)) for size in pairs.get(axis, (0, 0))]
    if not flat:
        return tensor
    if mode == "constant":
        return F.pad(tensor, flat, value=value)
    return F.pad(tensor, flat, mode={"reflect": "reflect", "edge": "replicate"}[mode])


def _pad(call: Call) -> Value:
    call.require("mode", "constant", ["constant", "reflect", "edge"])
    mode = call.attribute("mode", "constant")
    fill = call.constant(2, "fill value").item() if call.optional(2) is not None else 0.0
    pads = call.sizes(call.input(1), "pads")
    axes = call.sizes(call.input(3), "axes") if call.optional(3) is not None else None
    return call.emit(pad, call.tensor(0), pads, axes, mode, fill)


#: Operators that leave every element as it is, and hence also its quantisation.
CARRIERS: Sequence[str] = (
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Slice",
    "Split",
    "Gather",
    "Dropout",
    "Expand",
)

OPERATORS: dict[str, Operator] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Shape": _shape,
    "Size": _size,
    "Expand": _expand,
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Identity": _identity,
    "Dropout": _dropout,
    "Pad": _pad,
}
