"""The calls of an exported program: what one line of it may call, and with what."""

import math
import operator
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from activeindex.extractors.exported.archive import DTYPES

_LAYOUTS = {7: torch.strided}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_PLAIN = ("as_bool", "as_bools", "as_int", "as_ints", "as_int_lists")
_SIZES = ("as_sym_int", "as_sym_float", "as_sym_bool")

_STRINGS = frozenset(
    {"approximate", "equation", "indexing", "mode", "padding", "reduce", "rounding_mode"}
)
"""The parameters that take text. No other does, above all none that is the name of a file: the
operators that read or write files have such a parameter."""

_ON_SIZES: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs"),
            *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "getitem"),
        )
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "sqrt", "trunc")},
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}
"""What programs compute sizes with."""

_ON_MEMORY = frozenset({"as_strided_", "as_strided_copy", "resize_", "set_"})
"""Operators that depend on how a tensor lies in memory, which is here as is fastest."""

_SWITCHES = ("train", "training", "dropout_p", "p")
"""The parameters that make operators with a random part plain ones."""

_CHECKS = ("aten._assert", "aten.sym_constrain_range")
"""Calls that only check; the shape of what comes is checked by the extractor."""


class RefusedCallError(Exception):
    """A call that no program of an extractor has; the text says what was found."""


@dataclass(frozen=True)
class Reference:
    """A value that an earlier call gave, or an input."""

    name: str


@dataclass(frozen=True)
class Here:
    """The device that the images are on, whichever the program was exported on."""


@dataclass(frozen=True)
class Call:
    """One line of the program.

    Attributes:
        function: What is called.
        arguments: By position.
        keywords: By name.
        outputs: The name of each result; a list where one result is a list.
        last_uses: Values that nothing after this needs.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[Any, ...]
    last_uses: tuple[str, ...] = ()


def read_call(
    node: Mapping[str, Any], weights: Collection[str], metas: Mapping[str, Mapping[str, Any]]
) -> Call | None:
    """Reads one line of the program; None if it only checks.

    Args:
        node: The line.
        weights: The names of the values that no call may change.
        metas: How the values lay in memory when the program was exported.

    Raises:
        RefusedCallError: If it calls anything but an ATen operator on tensors, changes a weight,
            or gives something else each time.
    """
    target = str(node["target"])
    name = target.removeprefix("torch.ops.")
    if name.startswith(_CHECKS):
        return None
    function = _ON_SIZES.get(target) or _operator(name)
    if function is None:
        raise RefusedCallError(f"a call of {target}")
    arguments = {
        str(item["name"]): _argument(name, str(item["name"]), item["arg"])
        for item in node["inputs"]
    }
    outputs = tuple(_output_name(output) for output in node["outputs"])
    if target in _ON_SIZES:
        return Call(function, tuple(arguments.values()), {}, outputs)
    if _trains(function, arguments, weights):
        raise RefusedCallError(f"one in training mode ({name}); export model.eval()")
    if name == "aten.as_strided.default":
        function = _as_strided(metas[arguments["self"].name])
    return Call(function, (), arguments, outputs)


def _operator(name: str) -> Callable[..., Any] | None:
    """The ATen operator ``aten.NAME.OVERLOAD``."""
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or parts[1] in _ON_MEMORY:
        return None
    packet = getattr(torch.ops.aten, parts[1], None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return None
    overloads: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    return getattr(packet, parts[2]) if parts[2] in overloads else None


def _as_strided(meta: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
    """``as_strided`` of a tensor that is put back as it lay when the program was exported."""
    if any("as_int" not in step for step in (*meta["strides"], meta["storage_offset"])):
        raise RefusedCallError("a call of aten.as_strided on a tensor of free size")
    strides = [int(step["as_int"]) for step in meta["strides"]]
    begin = int(meta["storage_offset"]["as_int"])

    def as_strided(
        self: torch.Tensor, size: list[int], stride: list[int], storage_offset: int | None = None
    ) -> torch.Tensor:
        put = torch.empty_strided(self.shape, strides, dtype=self.dtype, device=self.device)
        offset = 0 if storage_offset is None else storage_offset - begin
        return put.copy_(self).as_strided(size, stride, offset)

    return as_strided


def _trains(function: Any, arguments: Mapping[str, Any], weights: Collection[str]) -> bool:
    """Whether a call changes a weight or draws random numbers."""
    schema = function._schema.arguments
    given = {item.name: arguments.get(item.name, item.default_value) for item in schema}
    changed = [given[item.name] for item in schema if item.alias_info and item.alias_info.is_write]
    if any(isinstance(value, Reference) and value.name in weights for value in changed):
        return True
    if given.get("running_mean") is not None:
        return bool(given.get("training") or given.get("use_input_stats"))
    random = torch.Tag.nondeterministic_seeded in function.tags
    return random and all(given.get(switch, True) for switch in _SWITCHES)


def _argument(function: str, parameter: str, argument: Mapping[str, Any]) -> Any:
    ((kind, value),) = argument.items()
    if kind == "as_none":
        return None
    if kind in _PLAIN:
        return value
    if kind in ("as_float", "as_floats"):  # Infinity and NaN are texts there.
        return [float(item) for item in value] if kind == "as_floats" else float(value)
    if kind in ("as_tensor", "as_optional_tensor"):
        return _reference(value)
    if kind in ("as_tensors", "as_optional_tensors"):
        return [_reference(item) for item in value]
    if kind in _SIZES:
        return _size(value)
    if kind.removesuffix("s") in _SIZES:
        return [_size(item) for item in value]
    if kind == "as_device":
        return Here()
    if kind == "as_scalar_type":
        return DTYPES[value]
    if kind == "as_layout":
        return _LAYOUTS[value]
    if kind == "as_memory_format":
        return _MEMORY_FORMATS[value]
    if kind == "as_string" and parameter in _STRINGS:
        return str(value)
    shown = reprlib.repr(value)
    raise RefusedCallError(f"{function} with {kind.removeprefix('as_')} {shown} as {parameter}")


def _reference(item: Mapping[str, Any]) -> Reference | None:
    """The tensor that is named, be it wrapped as an optional one or not."""
    if "as_none" in item:
        return None
    return Reference(str(item.get("as_tensor", item)["name"]))


def _size(item: Mapping[str, Any]) -> Any:
    ((kind, value),) = item.items()
    if kind == "as_name":
        return Reference(str(value))
    return float(value) if kind == "as_float" else value


def _output_name(output: Mapping[str, Any]) -> str | list[str | None] | None:
    ((kind, value),) = output.items()
    if kind == "as_none":
        return None
    if kind in _SIZES:
        return str(value["as_name"]) if "as_name" in value else None
    references = [_reference(item) for item in (value if isinstance(value, list) else [value])]
    names = [None if reference is None else reference.name for reference in references]
    return names if isinstance(value, list) else names[0]


def value_of(argument: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    """What an argument stands for, once the calls before have given their values."""
    if isinstance(argument, Reference):
        return values[argument.name]
    if isinstance(argument, Here):
        return device
    if isinstance(argument, list):
        return [value_of(item, values, device) for item in argument]
    return argument


def with_last_uses(calls: list[Call], kept: set[str]) -> list[Call]:
    """Notes after which call each value can be forgotten; bounds the memory without gradients."""
    seen = set(kept)
    noted = []
    for call in reversed(calls):
        used = {
            item.name
            for argument in (*call.arguments, *call.keywords.values())
            for item in (argument if isinstance(argument, list) else [argument])
            if isinstance(item, Reference)
        }
        given = {
            name
            for output in call.outputs
            for name in (output if isinstance(output, list) else [output])
            if name is not None
        }
        last = tuple(sorted((used | given) - seen))
        seen |= used
        noted.append(Call(call.function, call.arguments, call.keywords, call.outputs, last))
    return noted[::-1]
