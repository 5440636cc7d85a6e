"""Programs saved by ``torch.export.save`` (``.pt2``), loaded without trust.

``torch.export.load`` trusts its file: it unpickles sample inputs, flagged weights and custom
objects, evaluates symbolic sizes as Python expressions, writes names of values into source that it
compiles, and loads AOTInductor libraries. It gets a rewritten archive instead, which holds only the
raw tensors of the file and its program. Every call, argument and name of that program is checked
first, symbolic sizes are replaced by their examples, and what only debuggers read is left out. A
file that needs more is refused.
"""

import io
import json
import keyword
import re
import reprlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from activeindex.errors import InputError, reason_of
from activeindex.runtime.files import check_file

_SCHEMA = 8
"""Major version of the program's schema, PyTorch 2.6 to 2.14."""

_MEMBERS = {kind: f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants")}

_RAW_TENSOR = re.compile(r"(weight|tensor)_\d+")
"""Names of members that hold the bytes of a tensor."""

_DTYPES = {
    **dict(enumerate((torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64), start=1)),
    **dict(enumerate((torch.float16, torch.float32, torch.float64), start=6)),
    12: torch.bool,
    13: torch.bfloat16,
}
"""Types of tensors, as the archive numbers them."""

_ON_SIZES = re.compile(
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|_operator\.getitem|math\.(ceil|floor|sqrt|trunc)|torch\.sym_(float|int|max|min|not)"
)
"""Functions that programs compute sizes with."""

_ON_MEMORY = frozenset({"as_strided_", "as_strided_copy", "resize_", "set_"})
"""Operators whose result depends on a tensor's memory layout, which is chosen for speed here."""

_CHECKS = ("aten._assert", "aten.sym_constrain_range")
"""Calls that only check; the extractor checks the shape of the features itself."""

_ARGUMENTS = re.compile(
    r"as_(none|bools?|ints?|int_lists|floats?|(optional_)?tensors?|sym_(int|float|bool)s?|device"
    r"|scalar_type|layout|memory_format)"
)
"""Kinds of arguments that cannot do harm."""

_TEXTS = frozenset(
    {"approximate", "equation", "indexing", "mode", "padding", "reduce", "rounding_mode"}
)
"""Parameters that may take text. Operators that read or write files take their names by others."""

_DOTTED = frozenset({"target", "parameter_name", "buffer_name", "tensor_constant_name"})
"""Fields whose text may hold points; all other text is the name of a value."""

_SWITCHES = ("train", "training", "dropout_p", "p")
"""Parameters that turn the random part of an operator off."""


def load_program(path: Path, size: int) -> nn.Module:
    """Load a program for float32 images ``(B, 3, size, size)`` from a ``.pt2`` file.

    A program that was exported for one batch size gets the images in parts of that size.

    Raises:
        InputError: If the file is no such program, keeps something in pickled or compiled form,
            calls anything but ATen operators on tensors, is in training mode, or was exported for
            images of another size.
    """
    check_file(path, "model_path")
    expected = f"{path}: expected a program saved by torch.export.save, found"
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(path, archive).load(size)
    except InputError:
        raise
    except zipfile.BadZipFile:
        raise InputError(f"{expected} no zip archive") from None
    except Exception as error:  # Broken and hostile files raise errors of a dozen types.
        raise InputError(f"{expected} a broken one ({reason_of(error)})") from None


class _Reader:
    """Reader of one archive.

    Args:
        path: The file, for messages.
        archive: The open file.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._strided = False
        # All names begin with a folder named after the file when it was saved.
        self._names = {name.partition("/")[2]: name for name in archive.namelist()}

    def load(self, size: int) -> nn.Module:
        """Return the program as a module; see :func:`load_program`."""
        self._check_format()
        program = json.loads(self._bytes("models/model.json"))
        schema = program["schema_version"]["major"]
        if schema != _SCHEMA:
            raise self._other(f"schema version {schema} (known here: {_SCHEMA})")
        graph_module = program["graph_module"]
        graph, signature = graph_module["graph"], graph_module["signature"]
        weights, images = self._check_signature(signature)
        batch = self._check_size(graph["tensor_values"][images], size)
        graph["nodes"] = [
            {**node, "metadata": {}} for node in graph["nodes"] if self._check_call(node, weights)
        ]
        checked = {"graph": self._plain(graph), "signature": self._plain(signature)}
        plain = {
            "graph_module": {**checked, "module_call_graph": []},
            "opset_version": {},
            "range_constraints": {},
            "schema_version": {"major": _SCHEMA, "minor": int(program["schema_version"]["minor"])},
        }
        return _Program(_load(self._rewritten(plain)), batch, self._strided)

    def _check_format(self) -> None:
        models = [name for name in self._names if name.startswith("models/")]
        if "archive_format" not in self._names or self._bytes("archive_format") != b"pt2":
            if "serialized_exported_program.json" in self._archive.namelist():
                raise self._other("one saved by PyTorch before 2.8; save it again")
            raise self._other("another zip archive")
        if self._bytes("archive_version") != b"0" or self._bytes("byteorder") != b"little":
            raise self._other("an archive of another version or byte order")
        if models != ["models/model.json"]:
            if any(name.startswith("data/aotinductor/") for name in self._names):
                raise self._other("one compiled by AOTInductor, which has no gradient")
            raise self._other(f"one with {len(models)} models")

    def _rewritten(self, program: Mapping[str, Any]) -> io.BytesIO:
        """Write an archive with the checked program and the raw tensors alone."""
        members = {
            "archive_format": b"pt2",
            "archive_version": b"0",
            "byteorder": b"little",
            ".data/version": b"6\n",
            "models/model.json": json.dumps(program).encode(),
            "data/sample_inputs/model.pt": b"",
        }
        for kind, config in _MEMBERS.items():
            listed = json.loads(self._bytes(config))["config"]
            for name, item in listed.items():
                raw = _RAW_TENSOR.fullmatch(item["path_name"])  # Others are made objects.
                if not raw or item["use_pickle"] or item["tensor_meta"] is None:
                    pickled = f"keeps {name} in pickled form (it is not unpickled)"
                    raise self._other(f"one that {pickled}")
                item["tensor_meta"] = self._plain(item["tensor_meta"])
                member = f"data/{kind}/{item['path_name']}"
                members[member] = self._bytes(member)
            members[config] = json.dumps({"config": listed}).encode()
        rewritten = io.BytesIO()
        with zipfile.ZipFile(rewritten, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"model/{name}", content)
        rewritten.seek(0)
        return rewritten

    def _other(self, found: str, expected: str = "saved by torch.export.save") -> InputError:
        return InputError(f"{self._path}: expected a program {expected}, found {found}")

    def _refusal(self, found: str) -> InputError:
        return self._other(found, "that maps images")

    def _bytes(self, name: str) -> bytes:
        info = self._archive.getinfo(self._names[name])
        if info.compress_type != zipfile.ZIP_STORED:
            raise self._other("a compressed archive")
        return self._archive.read(info)

    def _check_signature(self, signature: Mapping[str, Any]) -> tuple[set[str], str]:
        """Return the names of the weights, and that of the images."""
        weights: set[str] = set()
        images: list[str] = []
        for spec in signature["input_specs"]:
            ((kind, item),) = spec.items()
            if kind == "user_input" and "as_tensor" in item["arg"]:
                images.append(item["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                weights.add(item["arg"]["name"])
            else:
                raise self._refusal(f"an input that is a {kind}")
        if len(images) != 1:
            raise self._refusal(f"one with {len(images)} inputs")
        outputs = signature["output_specs"]
        kinds = [next(iter(spec), "nothing") for spec in outputs]
        if any("mutation" in kind for kind in kinds):
            raise self._refusal("one in training mode; export model.eval()")
        if kinds != ["user_output"] or "as_tensor" not in outputs[0]["user_output"]["arg"]:
            raise self._refusal(f"one with the outputs {', '.join(kinds)}")
        return weights, images[0]

    def _check_size(self, meta: Mapping[str, Any], size: int) -> int | None:
        """Return the batch size that the program was exported for; None if it is free."""
        sizes = [length.get("as_int") for length in meta["sizes"]]
        dtype = _DTYPES.get(meta["dtype"])
        if len(sizes) != 4 or sizes[1] not in (3, None) or dtype != torch.float32:
            raise self._refusal(f"{dtype} input of shape {tuple(sizes)}")
        batch: int | None = sizes[0]
        if not {*sizes[2:]} <= {None, size}:
            raise InputError(
                f"{self._path}: the program was exported for images of {sizes[2]}x{sizes[3]}, "
                f"found resize_size {size}"
            )
        return batch

    def _check_call(self, node: Mapping[str, Any], weights: set[str]) -> bool:
        """Check one call; return False if it only checks sizes and can be left out."""
        target = str(node["target"])
        name = target.removeprefix("torch.ops.")
        if name.startswith(_CHECKS):
            return False
        on_sizes = _ON_SIZES.fullmatch(target)
        operator = None if on_sizes else _aten_operator(name)
        if operator is None and not on_sizes:
            raise self._refusal(f"a call of {target}")
        arguments: dict[str, Any] = {}
        for item in node["inputs"]:
            ((kind, value),) = item["arg"].items()
            if not _ARGUMENTS.fullmatch(kind) and (
                kind != "as_string" or item["name"] not in _TEXTS
            ):
                shown = f"{kind.removeprefix('as_')} {reprlib.repr(value)} as {item['name']}"
                raise self._refusal(f"{name} with {shown}")
            arguments[item["name"]] = None if kind == "as_none" else value
        if operator is not None and _trains(operator, arguments, weights):
            raise self._refusal(f"one in training mode ({name}); export model.eval()")
        self._strided |= name == "aten.as_strided.default"
        return True

    def _plain(self, value: Any, field: str = "") -> Any:
        """Return JSON with checked names, sizes as numbers, and the CPU as device."""
        if isinstance(value, dict):
            if "as_expr" in value:
                return self._plain(value["as_expr"]["hint"])
            if field in ("device", "as_device"):
                return {"type": "cpu", "index": None}
            return {self._name(key, ""): self._plain(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, field) for item in value]
        if isinstance(value, str):
            return self._name(value, field)
        return value

    def _name(self, text: str, field: str) -> str:
        if (
            field == "as_string"
        ):  # A constant; :meth:`_check_call` has checked which parameter gets it.
            return text
        if field in ("as_float", "as_floats"):  # Infinity and NaN are texts there.
            float(text)
            return text
        allowed = r"[\w.]+" if field in _DOTTED else r"[A-Za-z_]\w*"
        if re.fullmatch(allowed, text, re.ASCII) and not keyword.iskeyword(text):
            return text
        raise self._refusal(f"{reprlib.repr(text)} as a name")


def _load(archive: io.BytesIO) -> torch.export.ExportedProgram:
    """Load an archive as ``torch.export.load`` does, this format alone."""
    try:
        from torch.export.pt2_archive._package import load_pt2
    except ImportError:
        raise InputError(
            f"model_path: .pt2 files need PyTorch 2.8 or newer, found {torch.__version__}"
        ) from None
    return load_pt2(archive).exported_programs["model"]


def _aten_operator(name: str) -> Any:
    """Find the ATen operator ``aten.NAME.OVERLOAD``; None if it is not allowed."""
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or parts[1] in _ON_MEMORY:
        return None
    packet = getattr(torch.ops.aten, parts[1], None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return None
    overloads: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    return getattr(packet, parts[2]) if parts[2] in overloads else None


def _trains(operator: Any, arguments: Mapping[str, Any], weights: set[str]) -> bool:
    """Return True if a call changes a weight or draws random numbers."""
    given = {
        item.name: arguments.get(item.name, item.default_value)
        for item in operator._schema.arguments
    }
    for item in operator._schema.arguments:
        changed = given[item.name] if item.alias_info and item.alias_info.is_write else None
        if isinstance(changed, dict) and changed.get("name") in weights:
            return True
    if given.get("running_mean") is not None:
        return bool(given.get("training") or given.get("use_input_stats"))
    random = torch.Tag.nondeterministic_seeded in operator.tags
    return random and all(given.get(switch, True) for switch in _SWITCHES)


class _Program(nn.Module):
    """A loaded program for images ``(B, 3, H, W)``, on any device.

    Args:
        program: The program; its weights become buffers.
        batch: The batch size that it insists on, or None.
        strided: Whether it finds values by their place in memory, and so must be run in the layout
            in which it was exported.
    """

    def __init__(
        self, program: torch.export.ExportedProgram, batch: int | None, strided: bool
    ) -> None:
        super().__init__()
        self.graph = program.graph_module
        self._batch, self._strided = batch, strided
        self._inputs: list[str | None] = []
        for number, spec in enumerate(program.graph_signature.input_specs):
            if spec.target is None:
                self._inputs.append(None)
                continue
            held = program.state_dict if spec.target in program.state_dict else program.constants
            self.register_buffer(f"weight_{number}", held[spec.target].detach())
            self._inputs.append(f"weight_{number}")
        self._follow_images()

    def _follow_images(self) -> None:
        """Create tensors on the device of the images, whatever the program names."""
        graph = self.graph.graph
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        images = placeholders[self._inputs.index(None)]
        with graph.inserting_before(next(n for n in graph.nodes if n.op != "placeholder")):
            device = graph.call_function(getattr, (images, "device"))
        for node in graph.nodes:
            if "device" in node.kwargs:
                node.update_kwarg("device", device)
        self.graph.recompile()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run the program on images ``(B, 3, H, W)``."""
        if self._batch is None or self._batch == len(images):
            return self._run(images)
        parts = []
        for part in torch.split(images, self._batch):
            missing = self._batch - len(part)
            full = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(self._run(full)[: len(part)])
        return torch.cat(parts)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        if self._strided and not images.is_contiguous():
            raise RuntimeError("the program needs images (B, 3, H, W) that are contiguous")
        features: torch.Tensor
        (features,) = self.graph(
            *(images if name is None else self.get_buffer(name) for name in self._inputs)
        )
        return features
