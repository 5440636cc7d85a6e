"""Every operator against onnxruntime on the same file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from activeindex.errors import InputError
from activeindex.extractors.onnx.module import load_onnx_module
from tests.extractors.onnx.graphs import check, noise, pooled, write

IMAGES = noise(3, 3, 13, 16)


def node(operator: str, inputs: str, **attributes: Any) -> Any:
    """A node that writes "z"; inputs are separated by spaces, "-" leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, ["z"], **attributes)


UNARY: list[tuple[str, dict[str, Any], int]] = [
    ("Relu", {}, 17),
    ("LeakyRelu", {"alpha": 0.2}, 17),
    ("Elu", {"alpha": 0.7}, 17),
    ("Sigmoid", {}, 17),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 17),
    ("HardSwish", {}, 17),
    ("Softplus", {}, 17),
    ("Tanh", {}, 17),
    ("Erf", {}, 17),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("Exp", {}, 17),
    ("Neg", {}, 17),
    ("Abs", {}, 17),
    ("Floor", {}, 17),
    ("Ceil", {}, 17),
    ("Reciprocal", {}, 17),
    ("Softmax", {}, 17),
    ("Softmax", {"axis": 1}, 13),
    ("Softmax", {"axis": 1}, 11),
    ("LpNormalization", {"axis": 1}, 17),
    ("Identity", {}, 17),
    ("Dropout", {}, 17),
    ("AveragePool", {"kernel_shape": [3, 3]}, 17),
    ("MaxPool", {"kernel_shape": [3, 2], "dilations": [2, 1], "pads": [1, 0, 1, 1]}, 17),
    ("Transpose", {"perm": [0, 1, 3, 2]}, 17),
    ("Transpose", {"perm": [0, 2, 3, 1]}, 17),
    ("GlobalMaxPool", {}, 17),
    ("ReduceMean", {"axes": [2]}, 17),
    ("ReduceMax", {"axes": [-1]}, 17),
    ("ReduceMin", {"axes": [2, 3]}, 17),
    ("ReduceL2", {"axes": [1]}, 17),
    ("ReduceL1", {"axes": [3]}, 17),
    ("ReduceSumSquare", {"axes": [3]}, 17),
]


@pytest.mark.parametrize(("operator", "attributes", "opset"), UNARY)
def test_unary(tmp_path: Path, operator: str, attributes: dict[str, Any], opset: int) -> None:
    path = pooled(tmp_path / "a.onnx", [node(operator, "x", **attributes)], opset=opset)
    check(path, IMAGES + 0.01)


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], 22),
        ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], 22),
        ([node("LpNormalization", "x", axis=1)], 22),
        ([node("HardSwish", "x")], 22),
        ([node("Transpose", "x", perm=[0, 1, 3, 2])], 23),
        ([node("RMSNormalization", "x scale")], 23),
        ([node("RMSNormalization", "x plane", axis=-2, epsilon=0.1)], 23),
        ([node("Attention", "x x x")], 23),
        ([node("Attention", "x x x mask", scale=0.3)], 23),
        ([node("Attention", "x x x", is_causal=1)], 23),
        (
            [
                helper.make_node("Reshape", ["x", "tokens"], ["t"]),
                helper.make_node("Attention", ["t"] * 3, ["a"], q_num_heads=2, kv_num_heads=2),
                node("Reshape", "a planes"),
            ],
            23,
        ),
    ],
)
def test_operator_sets_22_and_23(tmp_path: Path, nodes: list[Any], opset: int) -> None:
    """Against the evaluator of the onnx package: onnxruntime lacks some of these."""
    constants = {
        "scale": noise(16, seed=1),
        "plane": noise(13, 16, seed=2),
        "mask": noise(13, 13, seed=3),
        "tokens": np.array([0, 39, 16]),
        "planes": np.array([0, 3, 13, 16]),
    }
    path = pooled(tmp_path / "a.onnx", nodes, constants, shape=("N", 3, 13, 16), opset=opset)
    found = load_onnx_module(path)(torch.from_numpy(IMAGES)).numpy()
    answers: Any = ReferenceEvaluator(str(path)).run(None, {"x": IMAGES})
    np.testing.assert_allclose(found, answers[0], rtol=1e-4, atol=1e-4)


def test_past_keys_of_attention_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(Attention\): .* \(past keys and values are not s"):
        load_onnx_module(pooled(tmp_path / "a.onnx", [node("Attention", "x x x - x x")], opset=23))


COLUMN = noise(3, 1, 1, seed=1)
WITH_CONSTANTS: list[tuple[Any, dict[str, Any], int]] = [
    (node("Add", "x c"), {"c": COLUMN}, 17),
    (node("Sub", "c x"), {"c": np.float32(2)}, 17),
    (node("Mul", "x c"), {"c": np.array([[[[2.5]]]], np.float32)}, 17),
    (node("Div", "c x"), {"c": COLUMN}, 17),
    (node("Pow", "x c"), {"c": np.float32(2)}, 17),
    (node("Min", "x c x"), {"c": COLUMN}, 17),
    (node("Max", "x c"), {"c": COLUMN}, 17),
    (node("PRelu", "x c"), {"c": COLUMN}, 17),
    (node("Clip", "x c -"), {"c": np.float32(-0.3)}, 17),
    (node("Clip", "x c d"), {"c": np.float32(-0.3), "d": np.float32(0.4)}, 17),
    (node("Clip", "x - d"), {"d": np.float32(0.4)}, 11),
    (node("MatMul", "x c"), {"c": noise(16, 5)}, 17),
    (node("ReduceSum", "x c", keepdims=1), {"c": np.array([2])}, 13),
    (node("ReduceMean", "x c"), {"c": np.array([2, 3])}, 18),
    (node("ReduceMean", "x", noop_with_empty_axes=1), {}, 18),
    (node("Expand", "x c"), {"c": np.array([1, 1, 1, 1])}, 17),
    (node("Pad", "x c"), {"c": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, 17),
    (node("Pad", "x c d"), {"c": np.array([0, 1, 1, 2, 0, 0, 3, -1]), "d": np.float32(2)}, 17),
    (node("Pad", "x c", mode="reflect"), {"c": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, 17),
    (node("Pad", "x c", mode="edge"), {"c": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, 17),
    (node("Pad", "x c - a"), {"c": np.array([1, 2]), "a": np.array([3])}, 18),
    (node("Slice", "x s e"), {"s": np.array([0, 1]), "e": np.array([9, 3])}, 17),
    (
        node("Slice", "x s e a t"),
        {
            "s": np.array([-1, 1]),
            "e": np.array([-(2**63), 2**62]),
            "a": np.array([3, -2]),
            "t": np.array([-2, 3]),
        },
        17,
    ),
    (node("Gather", "x c", axis=1), {"c": np.array([2, -3, 1])}, 17),
    (node("Gather", "x c", axis=2), {"c": np.array([5, -1, 0, 1])}, 17),
    (node("Reshape", "x c"), {"c": np.array([0, -1, 8, 1])}, 17),
    (
        node("BatchNormalization", "x g b m v", epsilon=1e-3),
        {"g": noise(3), "b": noise(3, seed=1), "m": noise(3, seed=2), "v": np.abs(noise(3)) + 1},
        17,
    ),
    (node("InstanceNormalization", "x g b"), {"g": noise(3), "b": noise(3, seed=1)}, 17),
    (node("LayerNormalization", "x g b"), {"g": noise(16), "b": noise(16, seed=1)}, 17),
    (
        node("LayerNormalization", "x g", axis=-2, epsilon=1e-2),
        {"g": noise(13, 16)},
        17,
    ),
]


@pytest.mark.parametrize(("operation", "constants", "opset"), WITH_CONSTANTS)
def test_with_constants(
    tmp_path: Path, operation: Any, constants: dict[str, Any], opset: int
) -> None:
    shape = ("N", 3, 13, 16)
    path = pooled(tmp_path / "a.onnx", [operation], constants, opset=opset, shape=shape)
    check(path, IMAGES)


def test_square_root_and_logarithm(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["r"]), node("Log", "r")]
    check(pooled(tmp_path / "a.onnx", nodes), np.abs(IMAGES) + 0.1)


def test_where_takes_the_larger_of_two(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Equal", ["r", "x"], ["same"]),
        helper.make_node("Cast", ["same"], ["mask"], to=1),
        helper.make_node("Where", ["same", "mask", "x"], ["z"]),
    ]
    check(pooled(tmp_path / "a.onnx", nodes, opset=19), IMAGES)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split_and_concat(tmp_path: Path, opset: int) -> None:
    parts = ["a", "b", "c"]
    attributes: Any = {"num_outputs": 3} if opset >= 18 else {}
    nodes = [
        helper.make_node("Split", ["x"], parts, axis=1, **attributes),
        helper.make_node("Concat", ["c", "a", "b"], ["z"], axis=3),
    ]
    check(pooled(tmp_path / "a.onnx", nodes, opset=opset), IMAGES)


def test_split_by_sizes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Mul", ["a", "b"], ["z"]),
    ]
    check(pooled(tmp_path / "a.onnx", nodes, {"sizes": np.array([1, 2])}), IMAGES)


@pytest.mark.parametrize("size", [(12, 13), (15, 16)])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("stride", "width"), [(1, 3), (2, 3), (2, 2), (3, 5)])
def test_automatic_padding_of_convolution(
    tmp_path: Path, size: tuple[int, int], auto_pad: str, stride: int, width: int
) -> None:
    operation = node("Conv", "x w", auto_pad=auto_pad, strides=[stride, stride])
    path = pooled(tmp_path / "a.onnx", [operation], {"w": noise(4, 3, width, width)})
    check(path, noise(2, 3, *size))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pads=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    strides=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    dilations=st.lists(st.integers(1, 2), min_size=2, max_size=2),
    kernel=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    grouped=st.booleans(),
)
def test_any_convolution(
    tmp_path: Path,
    pads: list[int],
    strides: list[int],
    dilations: list[int],
    kernel: list[int],
    grouped: bool,
) -> None:
    weights = {"w": noise(6, 1 if grouped else 3, *kernel), "b": noise(6, seed=1)}
    operation = node(
        "Conv",
        "x w b",
        pads=pads,
        strides=strides,
        dilations=dilations,
        kernel_shape=kernel,
        group=3 if grouped else 1,
    )
    check(pooled(tmp_path / "a.onnx", [operation], weights), IMAGES)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("size", [(12, 13), (15, 16)])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 3], "strides": [2, 3], "pads": [1, 1, 1, 1]},
    ],
)
def test_pooling(
    tmp_path: Path,
    operator: str,
    ceil_mode: int,
    size: tuple[int, int],
    attributes: dict[str, Any],
) -> None:
    operation = node(operator, "x", ceil_mode=ceil_mode, **attributes)
    check(pooled(tmp_path / "a.onnx", [operation], opset=19), noise(2, 3, *size))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_automatic_padding_of_pooling(
    tmp_path: Path, operator: str, auto_pad: str, include: int
) -> None:
    attributes = {"count_include_pad": include} if operator == "AveragePool" else {}
    operation = node(
        operator, "x", auto_pad=auto_pad, kernel_shape=[3, 2], strides=[2, 2], **attributes
    )
    check(pooled(tmp_path / "a.onnx", [operation]), IMAGES)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_unequal_padding_of_pooling(tmp_path: Path, operator: str) -> None:
    operation = node(operator, "x", kernel_shape=[2, 3], strides=[2, 3], pads=[0, 1, 1, 0])
    check(pooled(tmp_path / "a.onnx", [operation]), IMAGES)


def test_average_pool_counts_padding_when_asked(tmp_path: Path) -> None:
    for pads in ([1, 1, 1, 1], [0, 1, 1, 0]):
        operation = node("AveragePool", "x", kernel_shape=[3, 3], pads=pads, count_include_pad=1)
        check(pooled(tmp_path / "a.onnx", [operation]), IMAGES)


@pytest.mark.parametrize("transform", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("scale", [2.0, 0.5, 1.7])
def test_nearest_resize(tmp_path: Path, transform: str, rounding: str, scale: float) -> None:
    operation = node(
        "Resize",
        "x - s",
        mode="nearest",
        coordinate_transformation_mode=transform,
        nearest_mode=rounding,
    )
    constants = {"s": np.array([1, 1, scale, scale], np.float32)}
    check(pooled(tmp_path / "a.onnx", [operation], constants), IMAGES)


@pytest.mark.parametrize("transform", ["half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_smooth_resize_to_a_size(tmp_path: Path, mode: str, transform: str) -> None:
    operation = node("Resize", "x - - s", mode=mode, coordinate_transformation_mode=transform)
    nodes = [
        helper.make_node("Shape", ["x"], ["full"]),
        helper.make_node("Slice", ["full", "first", "two"], ["head"]),
        helper.make_node("Concat", ["head", "wanted"], ["s"], axis=0),
        operation,
    ]
    constants = {"two": np.array([2]), "wanted": np.array([20, 9])}
    check(pooled(tmp_path / "a.onnx", nodes, constants), IMAGES)


@pytest.mark.parametrize(
    ("attributes", "weight", "bias"),
    [
        ({}, (3, 5), (5,)),
        ({"transB": 1}, (5, 3), (5,)),
        ({"transB": 1, "alpha": 0.5, "beta": 2.0}, (5, 3), (1, 5)),
        ({}, (3, 5), ()),
    ],
)
def test_gemm(
    tmp_path: Path, attributes: dict[str, Any], weight: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["y"], **attributes),
    ]
    constants = {"w": noise(*weight), "b": np.asarray(noise(*bias), np.float32)}
    check(write(tmp_path / "a.onnx", nodes, constants), IMAGES)


def test_batch_size_follows_where_the_shape_is_computed(tmp_path: Path) -> None:
    """Tokens of a vision transformer: Shape, Gather, Unsqueeze, Concat, Where before Expand."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Mul", ["n", "one"], ["n1"]),
        helper.make_node("Unsqueeze", ["n1", "axes"], ["ns"]),
        helper.make_node("Concat", ["ns", "minus", "ones"], ["target"], axis=0),
        helper.make_node("Shape", ["target"], ["length"]),
        helper.make_node(
            "ConstantOfShape", ["length"], ["filled"], value=helper.make_tensor("v", 7, [1], [1])
        ),
        helper.make_node("Equal", ["target", "minus"], ["free"]),
        helper.make_node("Where", ["free", "filled", "target"], ["wanted"]),
        helper.make_node("Expand", ["token", "wanted"], ["tokens"]),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Concat", ["tokens", "m"], ["all"], axis=2),
        helper.make_node("Div", ["n", "n"], ["unit"]),
        helper.make_node("Cast", ["unit"], ["number"], to=1),
        helper.make_node("Mul", ["all", "number"], ["scaled"]),
        helper.make_node("Squeeze", ["scaled_first", "axes1"], ["y"]),
    ]
    first = helper.make_node("Slice", ["scaled", "axes", "axes1", "axes1"], ["scaled_first"])
    nodes.insert(-1, first)
    constants = {
        "zero": np.array(0),
        "one": np.array(1),
        "axes": np.array([0]),
        "axes1": np.array([1]),
        "minus": np.array([-1]),
        "ones": np.array([4]),
        "token": noise(1, 3, 4),
    }
    path = write(tmp_path / "a.onnx", nodes, constants, shape=("N", 3, 13, 16))
    module = check(path, IMAGES)
    assert module.dimension == 20


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_dequantised_along_an_axis(tmp_path: Path, axis: int) -> None:
    count = (6, 3)[axis]
    codes = np.random.default_rng(0).integers(-128, 128, (6, 3, 3, 3)).astype(np.int8)
    constants = {
        "q": codes,
        "s": np.linspace(0.01, 0.2, count, dtype=np.float32),
        "o": np.arange(count, dtype=np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "o"], ["w"], axis=axis),
        node("Conv", "x w"),
    ]
    check(pooled(tmp_path / "a.onnx", nodes, constants), IMAGES)


@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, -128), (np.uint8, 37)])
def test_quantised_activation_is_clamped(tmp_path: Path, dtype: Any, zero: int) -> None:
    """With a fine scale the rounding vanishes and the range of the codes remains."""
    constants = {"s": np.float32(0.004), "o": np.array(zero, dtype)}
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "o"], ["q"]),
        helper.make_node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("DequantizeLinear", ["p", "s", "o"], ["z"]),
    ]
    check(pooled(tmp_path / "a.onnx", nodes, constants), IMAGES * 0.5, tolerance=2e-3)


def test_pixels_may_be_dequantised_themselves(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3)).astype(np.uint8)
    constants = {"s": np.float32(1 / 64), "o": np.array(128, np.uint8)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "o"], ["a"]),
        helper.make_node("Transpose", ["a"], ["z"], perm=[0, 3, 1, 2]),
    ]
    path = pooled(tmp_path / "a.onnx", nodes, constants, shape=("N", 9, 8, 3), kind=2)
    check(path, images)


def test_fp16_weights_behind_casts(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["h"], ["w"], to=1), node("Conv", "x w")]
    check(pooled(tmp_path / "a.onnx", nodes, {"h": noise(4, 3, 3, 3).astype(np.float16)}), IMAGES)


def test_efficientnet_like_block(tmp_path: Path) -> None:
    """Stem with SAME padding, depthwise convolution, squeeze and excitation, residual."""

    def op(name: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(name, inputs.split(), [output], **attributes)

    nodes = [
        op("Conv", "x stem", "a0", auto_pad="SAME_UPPER", strides=[2, 2]),
        op("BatchNormalization", "a0 g b m v", "a1"),
        op("Sigmoid", "a1", "a2"),
        op("Mul", "a1 a2", "a"),
        op("Conv", "a depthwise", "d0", auto_pad="SAME_UPPER", group=8),
        op("Clip", "d0 zero_ six", "d"),
        op("GlobalAveragePool", "d", "s0"),
        op("Conv", "s0 squeeze", "s1"),
        op("Relu", "s1", "s2"),
        op("Conv", "s2 excite", "s3"),
        op("Sigmoid", "s3", "s"),
        op("Mul", "d s", "e"),
        op("Add", "e a", "r"),
        op("ReduceMean", "r", "pooled", axes=[2, 3], keepdims=0),
        op("MatMul", "pooled head", "y"),
    ]
    constants = {
        "stem": noise(8, 3, 3, 3),
        "g": np.ones(8, np.float32),
        "b": noise(8),
        "m": noise(8),
        "v": np.ones(8, np.float32),
        "depthwise": noise(8, 1, 5, 5),
        "zero_": np.float32(0),
        "six": np.float32(6),
        "squeeze": noise(2, 8, 1, 1),
        "excite": noise(8, 2, 1, 1),
        "head": noise(8, 10),
    }
    module = check(write(tmp_path / "a.onnx", nodes, constants), noise(4, 3, 31, 32))
    assert module.dimension == 10
