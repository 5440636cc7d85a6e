"""An exported program as a module: a list of ATen calls, carried out one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.exported.archive import DTYPES, Archive
from activeindex.extractors.exported.calls import (
    Call,
    RefusedCallError,
    read_call,
    value_of,
    with_last_uses,
)


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
        InputError: If the program takes something else, is in training mode, or calls anything but
            ATen operators on tensors.
    """

    def __init__(self, path: Path, archive: Archive) -> None:
        super().__init__()
        self._path = path
        module = archive.program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        self._held: dict[str, str] = {}
        self._input = self._bind(signature["input_specs"], archive)
        self._output = self._only_output(signature["output_specs"])
        metas = graph["tensor_values"]
        self.batch, self.height, self.width = self._input_size(metas)
        calls = [call for node in graph["nodes"] if (call := self._call(node, metas)) is not None]
        self._calls = with_last_uses(calls, {*self._held, self._output})

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
                *(value_of(argument, values, images.device) for argument in call.arguments),
                **{
                    name: value_of(argument, values, images.device)
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
        kinds = [next(iter(spec), "nothing") for spec in specs]
        if any("mutation" in kind for kind in kinds):
            raise self._refuse("one in training mode; export model.eval()")
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

    def _call(self, node: Mapping[str, Any], metas: Mapping[str, Any]) -> Call | None:
        try:
            return read_call(node, self._held, metas)
        except RefusedCallError as refused:
            raise self._refuse(str(refused)) from None
