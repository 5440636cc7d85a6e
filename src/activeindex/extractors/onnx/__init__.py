"""ONNX image networks, float or QDQ-quantised, as differentiable torch modules."""

from activeindex.extractors.onnx.module import OnnxModule, load_onnx_module

__all__ = ["OnnxModule", "load_onnx_module"]
