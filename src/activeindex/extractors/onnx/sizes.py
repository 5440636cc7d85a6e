"""Shape arithmetic on Python numbers, as between Shape and Reshape or Expand.

A value here is a number or a tuple of numbers. ``torch.compile`` may pass symbolic ones, so nothing
is converted to tensors. The functions have the inputs and attributes of their operator as
parameters.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from activeindex.extractors.onnx.tracing import LONGEST, Call, Number, Operator, Sizes, Value

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

_KINDS: dict[int, type[Number]] = {
    **dict.fromkeys((1, 10, 11, 16), float),
    **dict.fromkeys((6, 7), int),
    9: bool,
}
"""Python's numbers for the element types of ONNX."""


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
    rows = [_items(it) if len(_items(it)) == length else _items(it) * length for it in operands]
    return tuple(function(*column) for column in zip(*rows, strict=True))


def _divide(a: Number, b: Number) -> Number:
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    return a // b if (a < 0) == (b < 0) else -(-a // b)  # ONNX truncates, Python floors


_ELEMENTWISE: dict[str, Callable[..., Number]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divide,
    "Min": min,
    "Max": max,
    "Equal": lambda a, b: bool(a == b),
    "Where": lambda condition, a, b: a if condition else b,
    "Neg": operator.neg,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Sqrt": math.sqrt,
}


def _cast(sizes: Sizes, to: int = 0) -> Sizes:
    if to not in _KINDS:
        raise ValueError(f"sizes cannot be cast to type {to}")
    kind = _KINDS[to]
    return tuple(kind(item) for item in sizes) if isinstance(sizes, tuple) else kind(sizes)


def _slice(sizes: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Sizes:
    bounds = (starts, ends, 1 if steps is None else steps)
    return tuple(sizes[slice(*(int(_items(bound)[0]) for bound in bounds))])


def _reshape(sizes: Sizes, shape: Any, allowzero: int = 0) -> Sizes:
    items = _items(sizes)
    if len(shape) > 1 or (not shape and len(items) > 1):
        raise ValueError("sizes of more than one axis are not supported")
    return items if shape else items[0]


def _limited(numbers: range) -> range:
    if len(numbers) > LONGEST:
        raise ValueError(f"makes a list of {len(numbers):,} sizes")
    return numbers


_FUNCTIONS: dict[str, Callable[..., Sizes]] = {
    "Shape": lambda sizes, start=0, end=0: (len(sizes),) if isinstance(sizes, tuple) else (),
    "Gather": lambda sizes, at, axis=0: (
        tuple(sizes[index] for index in at) if isinstance(at, tuple) else sizes[at]
    ),
    "Slice": _slice,
    "Cast": _cast,
    "Unsqueeze": lambda sizes, axes=(): _reshape(sizes, (1,) * (1 + isinstance(sizes, tuple))),
    "Squeeze": lambda sizes, axes=(): _reshape(sizes, ()),
    "Reshape": _reshape,
    "ReduceProd": lambda sizes, axes=(), keepdims=1: _reshape(
        math.prod(_items(sizes)), (1,) * keepdims
    ),
    "Identity": lambda sizes: sizes,
    "Concat": lambda *parts, axis=0: tuple(item for part in parts for item in _items(part)),
    "Range": lambda start, limit, delta: tuple(_limited(range(start, limit, delta))),
}


def _compute(name: str, *operands: Any, **options: Any) -> Sizes:
    return _FUNCTIONS[name](*operands, **options)


_MIXED = frozenset({*_ELEMENTWISE, "Concat", "Range"})
"""Operators that may have a small constant before sizes."""


def _translate(call: Call) -> Value:
    name = call.node.operator
    operands = [None if it is None else call.sizes(it, "input") for it in call.inputs]
    if name in _ELEMENTWISE:
        return call.emit(_broadcast, name, *operands)
    return call.emit(_compute, name, *operands, **call.options(_FUNCTIONS[name]))


def _constant_of_shape(call: Call) -> Value:
    value = call.attribute("value", torch.zeros(1))
    number, shape = value.reshape(()).item(), call.input(0)
    if value.dtype not in _INTEGERS:
        return call.emit(_full_like, call.builder.image, shape, number)
    if len(shape.example) == 1:
        return call.emit(_repeat, shape, number)
    return call.emit(torch.full, shape, number, dtype=torch.int64)


def _repeat(shape: tuple[int, ...], number: Number) -> Sizes:
    return (number,) * len(_limited(range(shape[0])))


def _full_like(image: Tensor, shape: tuple[int, ...], number: Number) -> Tensor:
    return image.new_full(shape, number)


def sizes_operator(call: Call) -> Operator | None:
    """Find the translation on Python numbers; None if the node works on tensors."""
    name = call.node.operator
    inputs = [value for value in call.inputs if value is not None]
    sizes = [value.is_sizes for value in inputs]
    small = [value.is_constant and value.rank <= 1 for value in inputs]
    if not any(sizes) or not all(map(operator.or_, sizes, small)):
        return None
    if name == "ConstantOfShape":
        return _constant_of_shape
    known = name in _MIXED or (sizes[0] and name in _FUNCTIONS)
    return _translate if known else None
