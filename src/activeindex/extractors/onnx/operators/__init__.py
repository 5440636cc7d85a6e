"""Translations of ONNX operators to torch, in a table for each kind.

Each translation takes a :class:`~activeindex.extractors.onnx.tracing.Call` and returns the value,
or the values, of the node's outputs. Semantics are those of the default operator set, versions 11
to 23 (https://onnx.ai/onnx/operators).
"""
