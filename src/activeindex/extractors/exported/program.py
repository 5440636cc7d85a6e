"""An exported program as a module: a list of ATen calls, carried out one after the other."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.exported.archive import DTYPES, Archive

_LAYOUTS = {7: torch.strided}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_PLAIN = ("as_bool", "as_bools", "as_float", "as_floats", "as_int", "as_ints", "as_int_lists")
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

_CHECKS = ("aten._assert", "aten.sym_constrain_range")
"""Calls that only check; the shape of what comes is checked by the extractor."""


@dataclass(frozen=True)
class _Reference:
    """A value that an earlier call gave, or an input."""

    name: str


@dataclass(frozen=True)
class _Here:
    """The device that the images are on, whichever the program was exported on."""


@dataclass(frozen=True)
class _Call:
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


class ExportedProgram(nn.Module):
    """The program of a ``.pt2`` file, for images ``(B, 3, H, W)`` in float32.

    Gradients flow as through any module. A program that was exported for one batch size gets the
    images in parts of that size, the last one filled up.

    Args:
        path: The file, for the messages.
        archive: Its content.

    Attributes:
        batch: The batch size that the program insists on, or None.
        height: Of the images that it insists on, or None.
        width: Likewise.

    Raises:
        InputError: If the program takes something else, changes its weights, or calls anything
            but ATen operators on tensors.
    """

    def __init__(self, path: Path, archive: Archive) -> None:
        super().__init__()
        self._path = path
        module = archive.program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        self._held: dict[str, str] = {}
        self._input = self._bind(signature["input_specs"], archive)
        self._output = self._only_output(signature["output_specs"])
        self.batch, self.height, self.width = self._input_size(graph["tensor_values"])
        self._calls = _with_last_uses(
            [call for node in graph["nodes"] if (call := self._call(node)) is not None],
            {*self._held, self._output},
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the program gives for images ``(B, 3, H, W)``."""
        if self.batch is None or self.batch == len(images):
            return self._run(images)
        parts = []
        for part in torch.split(images, self.batch):
            missing = self.batch - len(part)
            full = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(self._run(full)[: len(part)])
        return torch.cat(parts)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        values: dict[str, Any] = {
            name: self.get_buffer(buffer) for name, buffer in self._held.items()
        }
        values[self._input] = images
        for call in self._calls:
            result = call.function(
                *(_value(argument, values, images.device) for argument in call.arguments),
                **{
                    name: _value(argument, values, images.device)
                    for name, argument in call.keywords.items()
                },
            )
            results = (result,) if len(call.outputs) == 1 else result
            for output, value in zip(call.outputs, results, strict=True):
                if isinstance(output, list):
                    values.update(zip(output, value, strict=True))
                elif output is not None:
                    values[output] = value
            for name in call.last_uses:
                values.pop(name, None)
        features: torch.Tensor = values[self._output]
        return features

    def _refuse(self, found: str) -> InputError:
        return InputError(f"{self._path}: expected a program that maps images, found {found}")

    def _bind(self, specs: Sequence[Mapping[str, Any]], archive: Archive) -> str:
        """Registers the weights as buffers; returns the name of the images."""
        images: list[str] = []
        for spec in specs:
            ((kind, item),) = spec.items()
            if kind == "user_input" and "as_tensor" in item["arg"]:
                images.append(item["arg"]["as_tensor"]["name"])
                continue
            if kind == "parameter":
                tensor = archive.weights[item["parameter_name"]]
            elif kind == "buffer":
                name = item["buffer_name"]
                tensor = (archive.weights if item["persistent"] else archive.constants)[name]
            elif kind == "tensor_constant":
                tensor = archive.constants[item["tensor_constant_name"]]
            else:
                raise self._refuse(f"an input that is a {kind}")
            buffer = f"weight_{len(self._held)}"
            self.register_buffer(buffer, tensor)
            self._held[item["arg"]["name"]] = buffer
        if len(images) != 1:
            raise self._refuse(f"one with {len(images)} inputs")
        return images[0]

    def _only_output(self, specs: Sequence[Mapping[str, Any]]) -> str:
        kinds = [next(iter(spec)) for spec in specs]
        if any("mutation" in kind for kind in kinds):
            raise self._refuse("one that changes its weights; export model.eval()")
        if kinds != ["user_output"] or "as_tensor" not in specs[0]["user_output"]["arg"]:
            raise self._refuse(f"one with the outputs {', '.join(kinds)}")
        return str(specs[0]["user_output"]["arg"]["as_tensor"]["name"])

    def _input_size(
        self, metas: Mapping[str, Mapping[str, Any]]
    ) -> tuple[int | None, int | None, int | None]:
        meta = metas[self._input]
        size = [length.get("as_int") for length in meta["sizes"]]
        if len(size) != 4 or size[1] not in (3, None) or DTYPES.get(meta["dtype"]) != torch.float32:
            raise self._refuse(f"{DTYPES.get(meta['dtype'])} input of shape {tuple(size)}")
        return size[0], size[2], size[3]

    def _call(self, node: Mapping[str, Any]) -> _Call | None:
        target = str(node["target"])
        name = target.removeprefix("torch.ops.")
        if name.startswith(_CHECKS):
            return None
        arguments = {
            str(item["name"]): self._argument(name, str(item["name"]), item["arg"])
            for item in node["inputs"]
        }
        outputs = tuple(_output_name(output) for output in node["outputs"])
        if target in _ON_SIZES:
            return _Call(_ON_SIZES[target], tuple(arguments.values()), {}, outputs)
        parts = name.split(".")
        packet = getattr(torch.ops.aten, parts[1], None) if len(parts) == 3 else None
        if parts[0] != "aten" or packet is None or parts[2] not in packet.overloads():
            raise self._refuse(f"a call of {target}")
        return _Call(getattr(packet, parts[2]), (), arguments, outputs)

    def _argument(self, function: str, parameter: str, argument: Mapping[str, Any]) -> Any:
        ((kind, value),) = argument.items()
        if kind == "as_none":
            return None
        if kind in _PLAIN:
            return value
        if kind in ("as_tensor", "as_optional_tensor"):
            return _reference(value)
        if kind in ("as_tensors", "as_optional_tensors"):
            return [_reference(item) for item in value]
        if kind in _SIZES:
            return _size(value)
        if kind.removesuffix("s") in _SIZES:
            return [_size(item) for item in value]
        if kind == "as_device":
            return _Here()
        if kind == "as_scalar_type":
            return DTYPES[value]
        if kind == "as_layout":
            return _LAYOUTS[value]
        if kind == "as_memory_format":
            return _MEMORY_FORMATS[value]
        if kind == "as_string" and parameter in _STRINGS:
            return str(value)
        raise self._refuse(f"{function} with {kind.removeprefix('as_')} {value!r} as {parameter}")


def _reference(item: Mapping[str, Any]) -> _Reference | None:
    """The tensor that is named, be it wrapped as an optional one or not."""
    if "as_none" in item:
        return None
    return _Reference(str(item.get("as_tensor", item)["name"]))


def _size(item: Mapping[str, Any]) -> Any:
    ((kind, value),) = item.items()
    return _Reference(str(value)) if kind == "as_name" else value


def _output_name(output: Mapping[str, Any]) -> str | list[str | None] | None:
    ((kind, value),) = output.items()
    if kind == "as_none":
        return None
    if kind in _SIZES:
        return str(value["as_name"]) if "as_name" in value else None
    references = [_reference(item) for item in (value if isinstance(value, list) else [value])]
    names = [None if reference is None else reference.name for reference in references]
    return names if isinstance(value, list) else names[0]


def _value(argument: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(argument, _Reference):
        return values[argument.name]
    if isinstance(argument, _Here):
        return device
    if isinstance(argument, list):
        return [_value(item, values, device) for item in argument]
    return argument


def _with_last_uses(calls: list[_Call], kept: set[str]) -> list[_Call]:
    """Notes after which call each value can be forgotten; bounds the memory without gradients."""
    seen = set(kept)
    noted = []
    for call in reversed(calls):
        used = {
            item.name
            for argument in (*call.arguments, *call.keywords.values())
            for item in (argument if isinstance(argument, list) else [argument])
            if isinstance(item, _Reference)
        }
        given = {
            name
            for output in call.outputs
            for name in (output if isinstance(output, list) else [output])
            if name is not None
        }
        last = tuple(sorted((used | given) - seen))
        seen |= used
        noted.append(_Call(call.function, call.arguments, call.keywords, call.outputs, last))
    return noted[::-1]
