"""Reading of ONNX files into plain records, with the checks that need no tensors.

Specification: https://onnx.ai/onnx/operators (default operator set, versions 11 to 23).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.inliner
import torch
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from activeindex.errors import InputError, library_errors
from activeindex.runtime.files import read_bytes

OLDEST_OPSET = 11
NEWEST_OPSET = 23

_MOST_NODES = 100_000
"""Most operators of a graph; functions that call functions grow exponentially."""

_LARGEST_SIDE = 1 << 14
"""Largest side of an image in pixels, and batch, that a graph may declare."""

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | torch.Tensor
Layout = Literal["NCHW", "NHWC"]
Dtype = Literal["uint8", "float32"]

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)
_KINDS = {number: name for name, number in onnx.TensorProto.DataType.items()}


@dataclass(frozen=True)
class ImageInput:
    """Declaration of the image in the graph.

    Attributes:
        name: The input's name in the graph.
        dtype: ``"uint8"`` when the graph takes 8-bit pixels, else ``"float32"``.
        layout: Position of the channels.
        height: Rows, or None when free.
        width: Columns, or None when free.
        batch: Images per call as declared, or None when free.
    """

    name: str
    dtype: Dtype
    layout: Layout
    height: int | None
    width: int | None
    batch: int | None


@dataclass(frozen=True)
class GraphNode:
    """One operator of the graph; ``inputs`` holds "" for an omitted input."""

    operator: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class ImageGraph:
    """An ONNX graph with one image input, reduced to what its first output needs.

    Attributes:
        path: The file, for messages.
        sha256: Hash of the file, and of those with its tensors, if there are any.
        opset: Version of the default operator set.
        image: The input.
        output: Name of the first output.
        nodes: Operators in an order in which they can be run.
        initialisers: Stored tensors by name; floats of any width as float32.
    """

    path: Path
    sha256: str
    opset: int
    image: ImageInput
    output: str
    nodes: Sequence[GraphNode]
    initialisers: Mapping[str, torch.Tensor]


def read_graph(path: Path, data: bytes) -> ImageGraph:
    """Read and check an ONNX file.

    Args:
        path: The file; tensors in other files are read from its folder, and from nowhere else.
        data: Its content.

    Raises:
        InputError: The file is no ONNX model, a file of its weights is missing or outside its
            folder, or it is not a graph from one image of three channels to an output.
    """
    model = _read_model(path, data)
    sha256 = _read_external(path, model, hashlib.sha256(data).hexdigest())
    opset, graph = _opset(path, model), model.graph
    nodes = [_node(path, proto, number) for number, proto in enumerate(graph.node)]
    if not graph.output or not nodes:
        raise InputError(f"{path}: holds no operators or no output, expected an ONNX image network")
    stored = {proto.name: proto for proto in graph.initializer}
    image = _image_input(path, [entry for entry in graph.input if entry.name not in stored])
    output = graph.output[0].name
    nodes, needed = _needed(nodes, output)
    known = {image.name, *stored, *(name for node in nodes for name in node.outputs)}
    if missing := sorted(needed - known):
        raise InputError(f"{path}: nothing produces {missing[0]!r}, the file is broken")
    if image.name not in needed:
        raise InputError(f"{path}: output {output!r} does not depend on the input {image.name!r}")
    initialisers = {name: _tensor(path, stored[name]) for name in sorted(needed & stored.keys())}
    return ImageGraph(path, sha256, opset, image, output, nodes, initialisers)


def _read_model(path: Path, data: bytes) -> onnx.ModelProto:
    broken = f"{path}: not a complete ONNX file (truncated, or of another format)"
    with library_errors(broken):
        model = onnx.load_model_from_string(data)
        functions = {(proto.domain, proto.name): proto.node for proto in model.functions}
        count = _count_nodes(model.graph.node, functions, {})
    if count > _MOST_NODES:
        raise InputError(f"{path}: expected {_MOST_NODES:,} operators at most, found {count:,}")
    with library_errors(broken):
        if functions:
            model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    names = [it.name for it in graph.initializer]
    names += [it.name for it in (*graph.input, *graph.output)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
    if any(isinstance(name, bytes) for name in names):  # What is no UTF-8 is not decoded.
        raise InputError(f"{broken}, found names that are no text")
    if graph.sparse_initializer:
        raise InputError(f"{path}: has sparse initialisers, which are not supported")
    return model


def _count_nodes(
    nodes: Iterable[onnx.NodeProto],
    functions: Mapping[tuple[str, str], Sequence[onnx.NodeProto]],
    counts: dict[tuple[str, str], int],
) -> int:
    """Count the operators of a graph with all calls of functions inlined."""
    total = 0
    for node in nodes:
        key = (node.domain, node.op_type)
        if key in functions and key not in counts:
            counts[key] = _count_nodes(functions[key], functions, counts)
        inside = (_count_nodes(it.g.node, functions, counts) for it in node.attribute)
        total += counts.get(key, 1) + sum(inside)
    return total


def _read_external(path: Path, model: onnx.ModelProto, sha256: str) -> str:
    """Read the tensors that are kept in files beside the model's, as PyTorch exports them.

    Returns:
        The given hash of the model's file if there are none, else one of all files.
    """
    constants = [entry.t for node in model.graph.node for entry in node.attribute]
    outside = [it for it in (*model.graph.initializer, *constants) if uses_external_data(it)]
    files: dict[str, bytes] = {}
    total = 0
    for tensor in outside:
        where = f"{path}: tensor {tensor.name!r}"
        with library_errors(f"{where} names its file wrongly"):
            info = ExternalDataInfo(tensor)
            start, location = info.offset or 0, str(info.location)
        if location not in files:
            files[location] = _read_beside(path, location)
        content = files[location]
        end = len(content) if info.length is None else start + info.length
        total += end - start
        if not 0 <= start <= end <= len(content) or total > 2 * sum(map(len, files.values())):
            raise InputError(
                f"{where} is bytes {start:,} to {end:,} of {location}, which has {len(content):,}; "
                "export the model again, and keep both files together"
            )
        tensor.raw_data = content[start:end]
        tensor.data_location = onnx.TensorProto.DEFAULT
    if not files:
        return sha256
    hashes = [(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()]
    return hashlib.sha256(f"{sha256} {sorted(hashes)}".encode()).hexdigest()


def _read_beside(path: Path, location: str) -> bytes:
    """Read a file that an ONNX file names, if it lies in its folder."""
    with library_errors(f"{path}: keeps tensors in {location!r}, which is no name of a file"):
        folder, file = path.parent.resolve(), (path.parent / location).resolve()
    if not file.is_relative_to(folder):
        raise InputError(
            f"{path}: keeps tensors in {location!r}, expected a file in its own folder, found one "
            "elsewhere; put a copy of both files into one folder"
        )
    return read_bytes(path.parent / location, f"{path}: keeps tensors in")


def _opset(path: Path, model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise InputError(f"{path}: names no ONNX operator set; truncated, or not an ONNX model")
    if not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        raise InputError(
            f"{path}: uses ONNX operator set {versions[0]}, "
            f"expected one of {OLDEST_OPSET} to {NEWEST_OPSET}"
        )
    return int(versions[0])


def _node(path: Path, proto: onnx.NodeProto, number: int) -> GraphNode:
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
    attributes = {entry.name: _attribute(path, entry) for entry in proto.attribute}
    name = proto.name or f"#{number}"
    return GraphNode(domain + proto.op_type, name, [*proto.input], [*proto.output], attributes)


def _attribute(path: Path, proto: onnx.AttributeProto) -> Attribute:
    kinds = onnx.AttributeProto
    if proto.type == kinds.TENSOR:
        return _tensor(path, proto.t)
    if proto.type not in (kinds.INT, kinds.FLOAT, kinds.STRING, kinds.INTS, kinds.FLOATS):
        # Subgraphs and the like: their operators (If, Loop) are refused by name later on.
        return f"<attribute of type {proto.type}>"
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else tuple(value)


def _tensor(path: Path, proto: onnx.TensorProto) -> torch.Tensor:
    """Read a stored tensor; floats become float32, 4-bit integers 8-bit."""
    if proto.data_type == onnx.TensorProto.STRING:
        raise InputError(f"{path}: tensor {proto.name!r} holds strings")
    with library_errors(f"{path}: tensor {proto.name!r} is broken"):
        array = numpy_helper.to_array(proto)
    if proto.data_type in _FLOATS:
        array = array.astype(np.float32)
    elif proto.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        array = array.astype(np.int8)
    elif array.dtype.kind not in "iub":
        kind = _KINDS.get(proto.data_type, proto.data_type)
        raise InputError(f"{path}: tensor {proto.name!r} is of type {kind}, which is not supported")
    elif array.dtype in (np.uint16, np.uint32, np.uint64):  # sparsely supported by torch
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array))


def _image_input(path: Path, entries: Sequence[onnx.ValueInfoProto]) -> ImageInput:
    if len(entries) != 1:
        names = ", ".join(repr(entry.name) for entry in entries) or "none"
        raise InputError(f"{path}: expected one image input, found {len(entries)} ({names})")
    (entry,) = entries
    kind = entry.type.tensor_type
    where = f"{path}: input {entry.name!r}"
    if kind.elem_type != onnx.TensorProto.UINT8 and kind.elem_type not in _FLOATS:
        name = _KINDS.get(kind.elem_type, kind.elem_type)
        raise InputError(f"{where} is of type {name}, expected UINT8 or FLOAT")
    sizes = [int(dim.dim_value) or None for dim in kind.shape.dim]
    shown = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in kind.shape.dim)
    if len(sizes) != 4:
        raise InputError(f"{where} has shape ({shown}), expected four axes (a batch of images)")
    if not all(size is None or 0 < size <= _LARGEST_SIDE for size in sizes):
        raise InputError(f"{where} has shape ({shown}), expected sides up to {_LARGEST_SIDE}")
    first, last = sizes[1] == 3, sizes[3] == 3
    if first == last:
        problem = "is ambiguous between" if first else "is not marked by a size of 3 in"
        raise InputError(
            f"{where} has shape ({shown}): the channel axis {problem} (N, 3, H, W) and (N, H, W, 3)"
        )
    height, width = sizes[2:] if first else sizes[1:3]
    dtype: Dtype = "uint8" if kind.elem_type == onnx.TensorProto.UINT8 else "float32"
    layout: Layout = "NCHW" if first else "NHWC"
    return ImageInput(entry.name, dtype, layout, height, width, sizes[0])


def _needed(nodes: Sequence[GraphNode], output: str) -> tuple[list[GraphNode], set[str]]:
    """Return the nodes that ``output`` depends on in order, and all names read."""
    needed = {output}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(name for name in node.inputs if name)
    return kept[::-1], needed
