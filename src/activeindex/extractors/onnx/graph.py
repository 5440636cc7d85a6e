"""Reading of ONNX files into plain records, with the checks that need no tensors.

Specification: https://onnx.ai/onnx/operators (default operator set, versions 11 to 21).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.inliner
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from activeindex.errors import InputError, reason_of

OLDEST_OPSET = 11
NEWEST_OPSET = 21

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | torch.Tensor
Layout = Literal["NCHW", "NHWC"]
Dtype = Literal["uint8", "float32"]

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)


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
        opset: Version of the default operator set.
        image: The input.
        output: Name of the first output.
        nodes: Operators in an order in which they can be run.
        initialisers: Stored tensors by name; floats of any width as float32.
    """

    path: Path
    opset: int
    image: ImageInput
    output: str
    nodes: Sequence[GraphNode]
    initialisers: Mapping[str, torch.Tensor]


def read_graph(path: Path) -> ImageGraph:
    """Read and check an ONNX file.

    Args:
        path: The file. Weights must be inside it.

    Raises:
        InputError: The file cannot be read, is no ONNX model, keeps its weights in other files, or
            is not a graph from one image of three channels to an output.
    """
    model = _read_model(path)
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
    return ImageGraph(path, opset, image, output, nodes, initialisers)


def _read_model(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (DecodeError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: not a complete ONNX file (truncated, or of another format)"
        ) from error
    external = onnx.TensorProto.EXTERNAL
    outside = [proto.name for proto in model.graph.initializer if proto.data_location == external]
    if outside:
        raise InputError(
            f"{path}: keeps {len(outside)} of its tensors in external files "
            f"({outside[0]!r} first), expected an ONNX file with its weights inside"
        )
    if model.graph.sparse_initializer:
        raise InputError(f"{path}: has sparse initialisers, which are not supported")
    return model


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
        return f"<{kinds.AttributeType.Name(proto.type)}>"
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else tuple(value)


def _tensor(path: Path, proto: onnx.TensorProto) -> torch.Tensor:
    """Read a stored tensor; floats become float32, 4-bit integers 8-bit."""
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise InputError(f"{path}: keeps tensor {proto.name!r} in an external file")
    if proto.data_type == onnx.TensorProto.STRING:
        raise InputError(f"{path}: tensor {proto.name!r} holds strings")
    try:
        array = numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: tensor {proto.name!r} is broken ({reason_of(error)})") from error
    if proto.data_type in _FLOATS:
        array = array.astype(np.float32)
    elif proto.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        array = array.astype(np.int8)
    elif array.dtype.kind not in "iub":
        kind = onnx.TensorProto.DataType.Name(proto.data_type)
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
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise InputError(f"{where} is of type {name}, expected UINT8 or FLOAT")
    sizes = [int(dim.dim_value) or None for dim in kind.shape.dim]
    shown = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in kind.shape.dim)
    if len(sizes) != 4:
        raise InputError(f"{where} has shape ({shown}), expected four axes (a batch of images)")
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
