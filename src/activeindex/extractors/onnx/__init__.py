"""ONNX image networks, float or QDQ-quantised, as differentiable torch modules."""
