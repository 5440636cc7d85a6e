"""Small ONNX graphs for the tests, and onnxruntime's answer to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from activeindex.extractors.onnx.module import OnnxModule, load_onnx_module

Array = np.ndarray[Any, np.dtype[Any]]
NCHW: tuple[Any, ...] = ("N", 3, "H", "W")


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[Any] = NCHW,
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
) -> Path:
    """Writes a graph from the input "x" to the output "y"."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def pooled(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Writes a graph whose nodes end in a 4-D "z", which a mean over positions makes a feature.

    The mean is weighted by position, so that a shifted result is seen.
    """
    weights = np.linspace(0.2, 40.0, 1024, dtype=np.float32)
    tail = [
        helper.make_node("Shape", ["z"], ["z_shape"]),
        helper.make_node("Gather", ["z_shape", "last"], ["z_width"], axis=0),
        helper.make_node("Slice", ["ramp", "first", "z_width"], ["row_weights"]),
        helper.make_node("Mul", ["z", "row_weights"], ["z_weighted"]),
        helper.make_node("GlobalAveragePool", ["z_weighted"], ["z_mean"]),
        helper.make_node("Flatten", ["z_mean"], ["y"]),
    ]
    extra = {"ramp": weights, "first": np.array([0]), "last": np.array([3])}
    return write(path, [*nodes, *tail], {**(constants or {}), **extra}, **options)


def reference(path: Path, images: Array) -> Array:
    """The first output of the file under onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    output: Array = session.run(None, {session.get_inputs()[0].name: images})[0]
    return output


def check(path: Path, images: Array, tolerance: float = 1e-4) -> OnnxModule:
    """Loads the file and compares it to onnxruntime on the images."""
    module = load_onnx_module(path)
    found = module(torch.from_numpy(images).float()).numpy()
    np.testing.assert_allclose(found, reference(path, images), rtol=tolerance, atol=tolerance)
    return module


def noise(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
