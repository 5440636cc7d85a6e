"""An ONNX image network as a differentiable :class:`torch.nn.Module`.

The file is read (:mod:`.graph`), each operator is translated to functions of torch while constants
are folded (:mod:`.tracing`, :mod:`.operators`), and the result runs as a
:class:`torch.fx.GraphModule`: plain generated Python that frees each intermediate after its last
use and that ``torch.compile`` takes.
"""

import operator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from activeindex.errors import InputError, ShapeError, library_errors
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, Extractor
from activeindex.extractors.onnx.graph import ImageGraph, ImageInput, read_graph
from activeindex.extractors.onnx.operators import (
    arithmetic,
    quantisation,
    shape,
    spatial,
)
from activeindex.extractors.onnx.sizes import sizes_operator
from activeindex.extractors.onnx.tracing import Builder, Call, Operator, Value
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import read_bytes

OPERATORS: dict[str, Operator] = {
    **arithmetic.OPERATORS,
    **shape.OPERATORS,
    **quantisation.OPERATORS,
    **spatial.OPERATORS,
}
"""Translations of the operators of ONNX."""

_CARRIERS = shape.CARRIERS | {"MaxPool"}
"""Operators that may stand between QuantizeLinear and DequantizeLinear of an activation."""

_FORGETFUL = (spatial.conv, arithmetic.batch_normalization, arithmetic.linear, operator.add)
"""Operations that keep no reference to their result for the backward pass."""


class OnnxExtractor(Extractor):
    """An ONNX graph as a differentiable extractor.

    A graph that takes bytes normalises inside and gets pixel values 0..255 as they are; one that
    takes floats gets images normalised with ImageNet's mean and standard deviation.

    Args:
        network: The graph.
        identity: Name, weights and input size.
    """

    def __init__(self, network: "OnnxModule", identity: ExtractorIdentity) -> None:
        image = network.image
        if not {image.height, image.width} <= {None, identity.input_size}:
            raise InputError(
                f"{identity.name}: the graph takes images of {image.height}x{image.width}, "
                f"found resize_size {identity.input_size}"
            )
        super().__init__(identity, network.dimension)
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        bytes_in = self.network.image.dtype == "uint8"
        pixels = images * 255.0 if bytes_in else (images - self.mean) / self.std
        if self.network.image.layout == "NHWC":
            pixels = pixels.permute(0, 2, 3, 1)
        features: torch.Tensor = self.network(pixels)
        return features


class OnnxModule(nn.Module):
    """Frozen network from images to features that passes gradients to the images.

    Weights are buffers, so ``.to(device)``, ``.to(dtype)`` and
    ``.to(memory_format=torch.channels_last)`` apply and no optimiser sees them.

    Args:
        network: The translated graph.
        image: Input that the graph declares.
        dimension: Length of a feature.
        sha256: Hash of the file, and of those with its tensors, if there are any.
    """

    _reference: Tensor

    def __init__(
        self, network: fx.GraphModule, image: ImageInput, dimension: int, sha256: str
    ) -> None:
        super().__init__()
        self.sha256 = sha256
        self.network, self.image, self.dimension = network, image, dimension
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
        sizes: tuple[int | str, ...] = (self.image.height or "H", self.image.width or "W")
        expected = ("B", 3, *sizes) if self.image.layout == "NCHW" else ("B", *sizes, 3)
        fits = images.dim() == 4 and all(
            isinstance(wanted, str) or wanted == found
            for wanted, found in zip(expected, images.shape, strict=True)
        )
        if not fits:
            raise ShapeError("images", expected, images.shape)
        features: Tensor = self.network(images.to(self._reference.dtype))
        return features


def load_onnx_module(path: Path, data: bytes | None = None) -> OnnxModule:
    """Load an ONNX image network, float or QDQ-quantised, operator sets 11 to 23.

    Quantised weights are dequantised; quantised activations are clamped to the range of their
    codes but not rounded (:mod:`activeindex.extractors.onnx.operators.quantisation`). The first
    output is taken. The module is in float32 on the CPU, whatever the file's float type.

    Args:
        path: The file; its weights are inside, or in files in the same folder.
        data: Its content, if it has been read.

    Raises:
        InputError: The file is broken, is not a network from one image to one feature, or uses
            operators or attributes that are not supported (all such operators are named).
    """
    source = read_graph(path, read_bytes(path, "model_path") if data is None else data)
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
    return OnnxModule(network, source.image, dimension, source.sha256).eval()


def _translate(source: ImageGraph, builder: Builder) -> Value:
    unknown = [node for node in source.nodes if node.operator not in OPERATORS]
    if unknown:
        names = ", ".join(sorted({node.operator for node in unknown}))
        raise InputError(
            f"{source.path}: unsupported operator {names} (first at node {unknown[0].name!r})"
        )
    values = {name: Value(tensor) for name, tensor in source.initialisers.items()}
    values[source.image.name] = builder.image
    for node in source.nodes:
        call = Call(builder, node, [values.get(name) for name in node.inputs])
        for name in node.inputs:
            if name and name not in values:
                raise call.refusal(
                    f"reads {name!r}, which is a further output that is not supported or is "
                    "computed only later"
                )
        values.update(zip(node.outputs, _apply(call), strict=False))
    return values[source.output]


def _apply(call: Call) -> list[Value]:
    """Translate a node; refuse quantised inputs where elements change."""
    name = call.node.operator
    quantisation = next((it.quantisation for it in call.inputs if it and it.quantisation), None)
    if quantisation and name not in _CARRIERS and name != "DequantizeLinear":
        raise call.refusal("works on 8-bit codes, which is supported for QDQ graphs only")
    with library_errors(f"{call.title}: does not fit its inputs for a batch of images"):
        found = (sizes_operator(call) or OPERATORS[name])(call)
    call.check_attributes()
    results = [found] if isinstance(found, Value) else list(found)
    if quantisation and name in _CARRIERS:
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


def _work_in_place(graph: fx.Graph) -> None:
    """Let clamps and ReLUs overwrite their input where nothing else needs it.

    Autograd then keeps one copy of the activation instead of two. That is sound after operations
    whose backward pass does not read their result, provided that the result is read only once.
    """
    for node in graph.nodes:
        if node.target not in (torch.relu, torch.clamp):
            continue
        source = node.args[0]
        if source.target not in _FORGETFUL or len(source.users) > 1:
            continue
        if node.target is torch.relu:
            node.target = torch.relu_
        elif node.args[1] is not None and node.args[2] is not None:
            node.target = quantisation.clamp_in_place
