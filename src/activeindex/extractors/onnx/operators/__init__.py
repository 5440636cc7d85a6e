"""Translations of ONNX operators to torch, one table for all of them.

Each translation takes a :class:`~activeindex.extractors.onnx.tracing.Call` and returns the value,
or the values, of the node's outputs. Semantics are those of the default operator set, versions 11
to 21 (https://onnx.ai/onnx/operators).
"""

from activeindex.extractors.onnx.operators import (
    arithmetic,
    convolution,
    reduction,
    resizing,
    shape,
)
from activeindex.extractors.onnx.quantisation import dequantize_linear, quantize_linear
from activeindex.extractors.onnx.tracing import Operator

OPERATORS: dict[str, Operator] = {
    **arithmetic.OPERATORS,
    **convolution.OPERATORS,
    **reduction.OPERATORS,
    **resizing.OPERATORS,
    **shape.OPERATORS,
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
}

#: Operators that may stand between QuantizeLinear and DequantizeLinear of an activation.
CARRIERS = shape.CARRIERS | {"MaxPool"}
