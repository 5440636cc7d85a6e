"""An ONNX image network as a differentiable :class:`torch.nn.Module`.

The file is read (:mod:`.graph`), each operator is translated to functions of torch while constants
are folded (:mod:`.tracing`, :mod:`.operators`), and the result runs as a
:class:`torch.fx.GraphModule`: plain generated Python that frees each intermediate after its last
use and that ``torch.compile`` takes.
"""

import operator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.onnx.graph import GraphNode, ImageGraph, ImageInput, read_graph
from activeindex.extractors.onnx.operators import CARRIERS, OPERATORS
from activeindex.extractors.onnx.operators.arithmetic import linear
from activeindex.extractors.onnx.operators.convolution import conv
from activeindex.extractors.onnx.operators.reduction import batch_normalization
from activeindex.extractors.onnx.quantisation import clamp_in_place
from activeindex.extractors.onnx.sizes import sizes_operator
from activeindex.extractors.onnx.tracing import Builder, Call, Value


class OnnxModule(nn.Module):
    """Frozen network from images to features that passes gradients to the images.

    Weights are buffers, so ``.to(device)``, ``.to(dtype)`` and
    ``.to(memory_format=torch.channels_last)`` apply and no optimiser sees them.

    Args:
        network: The translated graph.
        image: What the ONNX graph declares about its input.
        dimension: Length of a feature.

    Attributes:
        input_name: Name of the input in the ONNX graph.
        input_dtype: ``"uint8"``: pixel values in 0..255; ``"float32"``: whatever normalisation the
            network was trained with.
        layout: ``"NCHW"`` or ``"NHWC"``.
        height: Height that the graph asks for, or None when free.
        width: Width that the graph asks for, or None when free.
        dimension: Length of a feature.
    """

    _reference: Tensor

    def __init__(self, network: fx.GraphModule, image: ImageInput, dimension: int) -> None:
        super().__init__()
        self.network = network
        self.input_name = image.name
        self.input_dtype = image.dtype
        self.layout = image.layout
        self.height = image.height
        self.width = image.width
        self.dimension = dimension
        # Follows .to(): a network may well have no other floating-point buffer.
        self.register_buffer("_reference", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features of images.

        Args:
            images: Floats in the graph's own layout: (B, 3, H, W) for ``"NCHW"``, (B, H, W, 3) for
                ``"NHWC"``; in 0..255 for uint8 graphs, where they need not be whole numbers.

        Returns:
            (B, dimension), in the dtype of the module.

        Raises:
            ShapeError: The images have another layout or size than the graph's.
        """
        sizes: tuple[int | str, ...] = (self.height or "H", self.width or "W")
        expected = ("B", 3, *sizes) if self.layout == "NCHW" else ("B", *sizes, 3)
        fits = images.dim() == 4 and all(
            isinstance(wanted, str) or wanted == found
            for wanted, found in zip(expected, images.shape, strict=True)
        )
        if not fits:
            raise ShapeError("images", expected, images.shape)
        features: Tensor = self.network(images.to(self._reference.dtype))
        return features


def load_onnx_module(path: Path) -> OnnxModule:
    """Load an ONNX image network, float or QDQ-quantised, operator sets 11 to 21.

    Quantised weights are dequantised; quantised activations are clamped to the range of their
    codes but not rounded (:mod:`activeindex.extractors.onnx.quantisation`). The first output is
    taken. The module is in float32 on the CPU, whatever the file's float type.

    Args:
        path: The file, with its weights inside.

    Raises:
        InputError: The file is broken, is not a network from one image to one feature, or uses
            operators or attributes that are not supported (all such operators are named).
    """
    source = read_graph(path)
    builder = Builder(source)
    with torch.no_grad():
        output = _translate(source, builder)
    dimension = _dimension(source, builder, output)
    if output.rank == 4:
        output = builder.emit(torch.flatten, output, 1)
    builder.graph.output(output.node)
    _work_in_place(builder.graph)
    builder.graph.eliminate_dead_code()
    builder.graph.lint()
    root = nn.Module()
    for name, tensor in builder.constants.items():
        root.register_buffer(name, tensor)
    network = fx.GraphModule(root, builder.graph, class_name="OnnxNetwork")
    return OnnxModule(network, source.image, dimension).eval()


def _translate(source: ImageGraph, builder: Builder) -> Value:
    unknown = [node for node in source.nodes if node.operator not in OPERATORS]
    if unknown:
        names = ", ".join(sorted({node.operator for node in unknown}))
        raise InputError(
            f"{source.path}: unsupported operator {names} (first at node {unknown[0].name!r})"
        )
    values = {name: Value(tensor) for name, tensor in source.initialisers.items()}
    values[source.image.name] = builder.image
    remaining = _last_readers(source.nodes)
    for position, node in enumerate(source.nodes):
        call = Call(builder, node, [_input(source, node, name, values) for name in node.inputs])
        for name, result in zip(node.outputs, _apply(call), strict=False):
            values[name] = result
        for name in node.inputs:  # 8-bit originals of dequantised weights need not be kept
            if remaining.get(name) == position and name != source.output:
                values.pop(name, None)
    return values[source.output]


def _input(
    source: ImageGraph, node: GraphNode, name: str, values: dict[str, Value]
) -> Value | None:
    if not name:
        return None
    if name not in values:
        raise InputError(
            f"{source.path}: node {node.name!r} ({node.operator}) reads {name!r}, which is a "
            "further output that is not supported or is computed only later"
        )
    return values[name]


def _last_readers(nodes: Sequence[GraphNode]) -> dict[str, int]:
    return {name: position for position, node in enumerate(nodes) for name in node.inputs if name}


def _apply(call: Call) -> list[Value]:
    """Translate a node; refuse quantised inputs where elements change."""
    translate = sizes_operator(call) or OPERATORS[call.node.operator]
    marks = [value.quantisation for value in call.inputs if value is not None]
    quantisation = next((mark for mark in marks if mark is not None), None)
    carries = call.node.operator in CARRIERS
    dequantises = call.node.operator == "DequantizeLinear"
    if quantisation is not None and not carries and not dequantises:
        raise call.refusal("works on 8-bit codes, which is supported for QDQ graphs only")
    found = translate(call)
    call.check_attributes()
    results = [found] if isinstance(found, Value) else list(found)
    if carries and quantisation is not None:
        results = [replace(result, quantisation=quantisation) for result in results]
    return results


def _dimension(source: ImageGraph, builder: Builder, output: Value) -> int:
    """Return the length of a feature, from the probe."""
    if output.is_sizes or output.is_constant:
        raise InputError(f"{source.path}: output {source.output!r} does not depend on the pixels")
    shape = tuple(output.example.shape)
    batch = builder.image.example.shape[0]
    flat = len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
    if not flat or shape[0] != batch or not output.example.is_floating_point():
        raise InputError(
            f"{source.path}: output {source.output!r} has shape {shape} for {batch} images, "
            f"expected ({batch}, dimension), one feature for each image"
        )
    return int(shape[1])


#: Operations that keep no reference to their result for the backward pass.
_FORGETFUL = (conv, batch_normalization, linear, operator.add)


def _work_in_place(graph: fx.Graph) -> None:
    """Let clamps and ReLUs overwrite their input where nothing else needs it.

    Autograd then keeps one copy of the activation instead of two. That is sound after operations
    whose backward pass does not read their result, provided that the result is read only once.
    """
    for node in graph.nodes:
        if node.target not in (torch.relu, torch.clamp) or node.op != "call_function":
            continue
        source = node.args[0]
        if source.op != "call_function" or source.target not in _FORGETFUL:
            continue
        if len(source.users) > 1:
            continue
        if node.target is torch.relu:
            node.target = torch.relu_
        elif node.args[1] is not None and node.args[2] is not None:
            node.target = clamp_in_place
