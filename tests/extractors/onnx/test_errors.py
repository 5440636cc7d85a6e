"""What a user can get wrong about an ONNX file ends in one line that names the file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from activeindex.errors import InputError
from activeindex.extractors.onnx.module import load_onnx_module
from tests.extractors.onnx.graphs import noise, pooled, write

RELU = [helper.make_node("Relu", ["x"], ["z"])]


def refusal(path: Path) -> str:
    """The message with which the file is refused, one line that names it."""
    with pytest.raises(InputError) as caught:
        load_onnx_module(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file(tmp_path: Path, kept: float) -> None:
    whole = pooled(tmp_path / "whole.onnx", RELU, {"w": noise(100, 10)}).read_bytes()
    path = tmp_path / "part.onnx"
    path.write_bytes(whole[: int(len(whole) * kept)])
    refusal(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.onnx")
    assert "cannot be read" in refusal(tmp_path)


def test_other_format(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("this is a text file, not a network\n" * 9)
    assert "not a complete ONNX file" in refusal(path)


def test_tensor_shorter_than_its_shape(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["z"])]
    path = pooled(tmp_path / "a.onnx", nodes, {"w": noise(4, 3, 3, 3)})
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    path.write_bytes(model.SerializeToString())
    assert "tensor 'w' is broken" in refusal(path)


def test_weights_in_another_file(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["z"])]
    path = pooled(tmp_path / "a.onnx", nodes, {"w": noise(64, 3, 3, 3)})
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=16)
    assert "external files" in refusal(path)


def test_all_unsupported_operators_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="first"),
        helper.make_node("Det", ["a"], ["b"]),
        helper.make_node("FusedConv", ["b"], ["z"], domain="com.microsoft"),
    ]
    text = refusal(pooled(tmp_path / "a.onnx", nodes))
    assert "Det, NonZero, com.microsoft.FusedConv" in text
    assert "'first'" in text


@pytest.mark.parametrize(
    ("operator", "attributes", "named"),
    [
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "dilations"),
        ("Pad", {"mode": "wrap"}, "mode='wrap'"),
        ("Resize", {"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
        ("Relu", {"slope": 0.1}, "attribute slope"),
        ("Conv", {"auto_pad": "SAME"}, "auto_pad='SAME'"),
    ],
)
def test_unsupported_attribute(
    tmp_path: Path, operator: str, attributes: dict[str, Any], named: str
) -> None:
    inputs = ["x", "c"] if operator in ("Conv", "Pad") else ["x"]
    nodes = [helper.make_node(operator, inputs, ["z"], name="this one", **attributes)]
    constants = {"c": noise(4, 3, 3, 3) if operator == "Conv" else np.zeros(8, np.int64)}
    text = refusal(pooled(tmp_path / "a.onnx", nodes, constants, opset=19))
    assert named in text
    assert f"'this one' ({operator})" in text


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (("N", 3, "H", 3), "ambiguous"),
        (("N", "C", "H", "W"), "not marked by a size of 3"),
        (("N", 1, 28, 28), "not marked by a size of 3"),
        (("N", 512), "expected four axes"),
    ],
)
def test_layout_that_cannot_be_told(tmp_path: Path, shape: tuple[Any, ...], reason: str) -> None:
    text = refusal(pooled(tmp_path / "a.onnx", RELU, shape=shape))
    assert reason in text
    assert "'x'" in text


def test_input_of_another_type(tmp_path: Path) -> None:
    text = refusal(pooled(tmp_path / "a.onnx", RELU, kind=onnx.TensorProto.INT64))
    assert "INT64" in text


def test_two_inputs(tmp_path: Path) -> None:
    path = pooled(tmp_path / "a.onnx", RELU)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("mask", 1, ["N"]))
    path.write_bytes(model.SerializeToString())
    assert "found 2 ('x', 'mask')" in refusal(path)


@pytest.mark.parametrize("opset", [7, 22])
def test_operator_set_out_of_range(tmp_path: Path, opset: int) -> None:
    assert f"operator set {opset}" in refusal(pooled(tmp_path / "a.onnx", RELU, opset=opset))


def test_output_that_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    assert "one feature for each image" in refusal(path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["z"], name="stem")]
    text = refusal(pooled(tmp_path / "a.onnx", nodes, {"w": noise(4, 5, 3, 3)}))
    assert "'stem' (Conv): does not fit" in text
