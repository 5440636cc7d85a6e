"""What a user can get wrong about an ONNX file ends in one line that names the file."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from activeindex.errors import InputError
from activeindex.extractors.onnx.module import load_onnx_module
from tests.extractors.onnx.graphs import noise, pooled, reference, write

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
    assert "expected a file, found nothing" in refusal(tmp_path / "none.onnx")
    assert "expected a file, found a folder" in refusal(tmp_path)


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


def external(folder: Path, **changes: str) -> Path:
    """A graph whose weights are in a.data, as PyTorch exports it, with one entry changed."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["z"])]
    path = pooled(folder / "a.onnx", nodes, {"w": noise(64, 3, 3, 3)})
    options: Any = {"save_as_external_data": True, "size_threshold": 16, "location": "a.data"}
    onnx.save(onnx.load(path), path, **options)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_another_file_are_part_of_the_identity(tmp_path: Path) -> None:
    path = external(tmp_path)
    module = load_onnx_module(path)
    images = noise(2, 3, 16, 16)
    found = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, reference(path, images), rtol=1e-4, atol=1e-4)
    data = bytearray((tmp_path / "a.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "a.data").write_bytes(data)
    assert load_onnx_module(path).sha256 != module.sha256


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"location": "/dev/zero"}, "expected a file in its own folder, found one elsewhere"),
        ({"location": "../a.data"}, "expected a file in its own folder, found one elsewhere"),
        ({"location": "link"}, "expected a file in its own folder, found one elsewhere"),
        ({"location": "loop"}, "keeps tensors in"),
        ({"location": "pipe"}, "expected a file, found nothing"),
        ({"location": "b.data"}, "expected a file, found nothing"),
        ({"location": "."}, "expected a file, found a folder"),
        ({"location": "a\0b"}, "keeps tensors in"),
        ({"length": str(2**40)}, "which has 11,"),
        ({"offset": str(2**70)}, "which has 11,"),
        ({"offset": "-8"}, "names its file wrongly"),
        ({"length": "64"}, "tensor 'w' is broken"),
        ({"length": "many"}, "names its file wrongly"),
    ],
)
def test_external_weights_that_are_not_beside_the_file(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    assert reason in refusal(external(tmp_path, **changes))


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


@pytest.mark.parametrize("opset", [7, 24])
def test_operator_set_out_of_range(tmp_path: Path, opset: int) -> None:
    assert f"operator set {opset}" in refusal(pooled(tmp_path / "a.onnx", RELU, opset=opset))


def test_output_that_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    assert "one feature for each image" in refusal(path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["z"], name="stem")]
    text = refusal(pooled(tmp_path / "a.onnx", nodes, {"w": noise(4, 5, 3, 3)}))
    assert "'stem' (Conv): does not fit" in text


def op(name: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    names = ["" if each == "-" else each for each in inputs.split()]
    return helper.make_node(name, names, [output], **attributes)


HUGE = np.array([1, 3, 2**20, 2**20])
DOUBLING = [op("Concat", f"c{n} c{n}", f"c{n + 1}", axis=0) for n in range(40)]
SQUARES = [op("Mul", f"s{n} s{n}", f"s{n + 1}") for n in range(40)]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([op("ConstantOfShape", "c", "a"), op("Add", "x a", "z")], {"c": HUGE}),
        ([op("Expand", "one c", "a"), op("Add", "x a", "z")], {"c": HUGE}),
        ([op("Expand", "x c", "z")], {"c": HUGE}),
        ([op("Range", "n h o", "a"), op("Add", "x a", "z")], {"n": 0, "h": 2**40, "o": 1}),
        ([op("Pad", "x c", "z")], {"c": np.array([0, 0, 0, 0, 0, 0, 2**40, 0])}),
        ([op("Resize", "x - c", "z")], {"c": np.array([1, 1, 1e6, 1e6], np.float32)}),
        ([*DOUBLING, op("Add", "x c40", "z")], {"c0": np.ones(8, np.float32)}),
        ([op("Shape", "x", "s0"), *SQUARES, op("Expand", "x s40", "z")], {}),
        (
            [op("Shape", "x", "s"), op("Mul", "s c", "t"), op("Expand", "x t", "z")],
            {"c": np.array([1, 1, 2**30, 2**30])},
        ),
        (
            [
                op("Size", "x", "s"),
                op("Mul", "s c", "t"),
                op("Range", "n t o", "r"),
                op("ReduceProd", "r", "p"),
                op("Expand", "x p", "z"),
            ],
            {"c": np.array(2**40), "n": np.array(0), "o": np.array(1)},
        ),
        ([op("Tile", "x c", "z")], {"c": HUGE}),
    ],
)
def test_graphs_that_ask_for_all_memory(
    tmp_path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any]
) -> None:
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    refusal(pooled(tmp_path / "a.onnx", nodes, {**arrays, "one": np.ones(1, np.float32)}))


@pytest.mark.parametrize("side", [2**40, -1, 10**5])
def test_images_of_absurd_sizes(tmp_path: Path, side: int) -> None:
    assert "sides up to 16384" in refusal(pooled(tmp_path / "a", RELU, shape=("N", 3, side, 8)))


def functions(calls: dict[str, list[str]]) -> list[onnx.FunctionProto]:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    found = []
    for name, inner in calls.items():
        steps = ["x", *(f"v{number}" for number in range(len(inner) - 1)), "z"]
        nodes = [
            helper.make_node(
                each, [steps[n]], [steps[n + 1]], domain="" if each == "Relu" else "own"
            )
            for n, each in enumerate(inner)
        ]
        found.append(helper.make_function("own", name, ["x"], ["z"], nodes, opsets))
    return found


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ({"f0": ["Relu"]} | {f"f{n}": [f"f{n - 1}"] * 2 for n in range(1, 41)}, "most, found 1,0"),
        ({"f40": ["f40"]}, "not a complete ONNX file"),
        ({"f40": ["f1"], "f1": ["f40"]}, "not a complete ONNX file"),
    ],
)
def test_functions_that_grow_without_end(
    tmp_path: Path, calls: dict[str, list[str]], reason: str
) -> None:
    path = pooled(tmp_path / "a.onnx", [helper.make_node("f40", ["x"], ["z"], domain="own")])
    model = onnx.load(path)
    model.functions.extend(functions(calls))
    model.opset_import.append(helper.make_opsetid("own", 1))
    path.write_bytes(model.SerializeToString())
    assert reason in refusal(path)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = pooled(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["z"], name="abcd")])
    path.write_bytes(path.read_bytes().replace(b"abcd", b"\xff\xfe\xfd\xfc"))
    assert "names that are no text" in refusal(path)
