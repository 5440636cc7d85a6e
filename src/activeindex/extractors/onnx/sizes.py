"""Shape arithmetic on Python numbers: what exporters put between Shape and Reshape or Expand.

A value here is a number or a tuple of numbers. Under ``torch.compile`` they may be symbolic, hence
no conversion to tensors anywhere.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Number, Operator, Sizes, Value

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def shape_of(tensor: Tensor, start: int, end: int | None) -> tuple[int, ...]:
    """``tensor.shape[start:end]``."""
    return tuple(tensor.shape[start:end])


def element_count(tensor: Tensor) -> int:
    """Number of elements of a tensor."""
    return tensor.numel()


def _items(sizes: Sizes) -> tuple[Number, ...]:
    return sizes if isinstance(sizes, tuple) else (sizes,)


def _broadcast(name: str, *operands: Sizes) -> Sizes:
    function = _ELEMENTWISE[name]
    lengths = {len(operand) for operand in operands if isinstance(operand, tuple)}
    if not lengths:
        return function(*operands)
    length = max(lengths)
    if lengths - {1, length}:
        raise ValueError(f"lists of {sorted(lengths)} numbers do not fit")
    columns = []
    for operand in operands:
        items = _items(operand)
        columns.append(items if len(items) == length else items * length)
    return tuple(function(*row) for row in zip(*columns, strict=True))


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    return a // b if (a < 0) == (b < 0) else -(-a // b)  # ONNX truncates, Python floors


def _select(condition: Number, a: Number, b: Number) -> Number:
    return a if condition else b


def _equal(a: Number, b: Number) -> bool:
    return a == b


_ELEMENTWISE: dict[str, Callable[..., Number]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divide,
    "Min": min,
    "Max": max,
    "Equal": _equal,
    "Where": _select,
    "Neg": operator.neg,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Sqrt": math.sqrt,
}


def _elementwise(call: Call) -> Value:
    return call.emit(_broadcast, call.node.operator, *_operands(call))


def _operands(call: Call) -> list[Any]:
    return [call.sizes(call.input(position), "input") for position in range(len(call.inputs))]


#: Python's numbers for the element types of ONNX.
_KINDS: dict[int, type[Number]] = {
    1: float,
    6: int,
    7: int,
    9: bool,
    10: float,
    11: float,
    16: float,
}


def _cast(call: Call) -> Value:
    code = call.attribute("to", 0)
    call.attribute("saturate", 1)
    if code not in _KINDS:
        raise call.refusal(f"casting sizes to type {code} is not supported")
    return call.emit(_convert, code, call.input(0))


def _convert(code: int, sizes: Sizes) -> Sizes:
    kind = _KINDS[code]
    return tuple(kind(item) for item in sizes) if isinstance(sizes, tuple) else kind(sizes)


def _concat(call: Call) -> Value:
    call.attribute("axis", 0)
    return call.emit(_join, _operands(call))


def _join(parts: Sequence[Sizes]) -> Sizes:
    return tuple(item for part in parts for item in _items(part))


def _gather(call: Call) -> Value:
    call.attribute("axis", 0)
    return call.emit(_pick, call.input(0), call.sizes(call.input(1), "indices"))


def _pick(sizes: tuple[Number, ...], indices: int | tuple[int, ...]) -> Sizes:
    if isinstance(indices, tuple):
        return tuple(sizes[index] for index in indices)
    return sizes[indices]


def _slice(call: Call) -> Value:
    bounds = [call.sizes(call.input(position), "bounds") for position in (1, 2)]
    step: Any = 1
    if call.optional(4) is not None:
        step = call.sizes(call.input(4), "steps")
    return call.emit(_cut, call.input(0), *bounds, step)


def _cut(sizes: tuple[Number, ...], start: Any, end: Any, step: Any) -> Sizes:
    first, last, stride = (_items(bound)[0] for bound in (start, end, step))
    return sizes[slice(int(first), int(last), int(stride))]


def _to_list(call: Call) -> Value:
    call.integers("axes")
    if call.input(0).rank != 0:
        raise call.refusal("sizes of more than one axis are not supported")
    return call.emit(_items, call.input(0))


def _to_number(call: Call) -> Value:
    call.integers("axes")
    return call.emit(_single, call.input(0))


def _single(sizes: Sizes) -> Sizes:
    (number,) = _items(sizes)
    return number


def _reshape(call: Call) -> Value:
    call.attribute("allowzero", 0)
    shape = call.constant(1, "shape").tolist()
    if shape == []:
        return call.emit(_single, call.input(0))
    if len(shape) == 1:
        return call.emit(_items, call.input(0))
    raise call.refusal("sizes of more than one axis are not supported")


def _product(call: Call) -> Value:
    call.integers("axes")
    keep = call.attribute("keepdims", 1)
    product = call.emit(_multiply, call.input(0))
    return call.emit(_items, product) if keep else product


def _multiply(sizes: Sizes) -> Number:
    return math.prod(_items(sizes))


def _range(call: Call) -> Value:
    return call.emit(_count, *_operands(call))


def _count(start: int, limit: int, step: int) -> Sizes:
    return tuple(range(start, limit, step))


def _filled(call: Call) -> Value:
    value = call.attribute("value", torch.zeros(1))
    number = value.reshape(()).item()
    if value.dtype in _INTEGERS and len(call.input(0).example) == 1:
        return call.emit(_repeat, call.input(0), number)
    if value.dtype in _INTEGERS:
        return call.emit(torch.full, call.input(0), number, dtype=torch.int64)
    return call.emit(_full_like, call.builder.image, call.input(0), number)


def _repeat(shape: tuple[int, ...], number: Number) -> Sizes:
    return (number,) * shape[0]


def _full_like(image: Tensor, shape: tuple[int, ...], number: Number) -> Tensor:
    return image.new_full(shape, number)


def _shape(call: Call) -> Value:
    call.attribute("start", 0)
    call.integers("end")
    return call.emit(_length, call.input(0))


def _length(sizes: Sizes) -> Sizes:
    return (len(sizes),) if isinstance(sizes, tuple) else ()


def _identity(call: Call) -> Value:
    return call.input(0)


#: Operators whose every input may be sizes (or small constants beside them).
_MIXED: dict[str, Operator] = dict.fromkeys(_ELEMENTWISE, _elementwise)
_MIXED |= {"Concat": _concat, "Range": _range}

#: Operators whose first input is sizes.
_FIRST: dict[str, Operator] = {
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Cast": _cast,
    "Unsqueeze": _to_list,
    "Squeeze": _to_number,
    "Reshape": _reshape,
    "ReduceProd": _product,
    "ConstantOfShape": _filled,
    "Identity": _identity,
}


def sizes_operator(call: Call) -> Operator | None:
    """The translation on Python numbers, or None when the node works on tensors."""
    inputs = [value for value in call.inputs if value is not None]
    if not any(value.is_sizes for value in inputs):
        return None
    if any(not value.is_sizes and not (value.is_constant and value.rank <= 1) for value in inputs):
        return None
    if inputs[0].is_sizes and call.node.operator in _FIRST:
        return _FIRST[call.node.operator]
    return _MIXED.get(call.node.operator)
