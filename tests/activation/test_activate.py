"""The method as a whole, by hand on a linear extractor and for real on SSCD."""

import importlib
import itertools
import math
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activeindex.activation.activate import activate_pictures, grouped
from activeindex.activation.loop import Step
from activeindex.activation.results import ActivationResult
from activeindex.activation.settings import PAPER, PRECISIONS, TARGETS, ActivationSettings
from activeindex.errors import InputError, NoTargetError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.levels import Pixels, resize_square, to_pixels, to_tensor
from activeindex.images.quality import measure_quality
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from tests.extractors.linear import MEAN, STD, LinearExtractor, linear_features, linear_quantiser

Array = npt.NDArray[np.float64]

FEW = PAPER.replace(iterations=4)


def tolerance(extractor: Extractor) -> float:
    """Of distances: images of another batch size meet other kernels on a GPU."""
    return 1e-5 if extractor.device.type == "cpu" else 3e-3


def jnd_by_hand(image: Array) -> Array:
    """Of (3, H, W) in [0, 1], pixel by pixel."""
    luminance = 255 * np.tensordot((0.299, 0.587, 0.114), image, axes=1)
    padded = np.pad(luminance, 2)
    result = np.zeros_like(luminance)
    mean = np.array([[1] * 5, [1, 2, 2, 2, 1], [1, 2, 0, 2, 1], [1, 2, 2, 2, 1], [1] * 5]) / 32
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    for y, x in np.ndindex(luminance.shape):
        around = padded[y : y + 5, x : x + 5]
        back = (mean * around).sum()
        dark = 17 * (1 - math.sqrt(back / 127 + 1e-3)) + 3
        light = dark if back <= 127 else 3 / 128 * (back - 127) + 3
        inner = around[1:4, 1:4]
        edge = math.hypot((sobel * inner).sum(), (sobel.T * inner).sum())
        mask = 0.117 * 16 * edge**2.4 / (edge**2 + 26**2)
        result[y, x] = max(light + mask - 0.3 * min(light, mask), 5) / 255
    return result


@pytest.mark.parametrize("loss", ["cossim", "mse"])
@pytest.mark.parametrize("optimizer", ["Adam,lr=1e-0", "SGD,lr=500.0"])
def test_one_step_is_what_the_method_says(
    photographs: dict[str, Pixels], loss: str, optimizer: str
) -> None:
    settings = PAPER.replace(iterations=1, optimizer=optimizer, loss_f=loss)
    extractor, quantiser = LinearExtractor(), linear_quantiser()
    image = to_tensor(photographs["astronaut"][100:132, 200:232])
    found = activate_pictures([image], extractor, quantiser, settings).images[0]

    x = image.double().numpy()
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (MEAN, STD))
    weights = extractor.weights.double().numpy()
    feature = weights @ ((x - mean) / std).ravel()
    target = quantiser.reconstruct(feature[None].astype(np.float32))[0].astype(np.float64)
    # The gradient at a distortion of (nearly) zero; that of the image loss is zero there.
    if loss == "cossim":
        lengths = np.linalg.norm(feature) * np.linalg.norm(target)
        cosine = feature @ target / lengths
        outer = -(target / lengths - cosine * feature / (feature @ feature))
    else:
        outer = 2 * (feature - target)
    amplitude = np.array([0.072 / w for w in (0.299, 0.587, 0.114)]).reshape(3, 1, 1) * (
        3 * jnd_by_hand(x)
    )
    gradient = (weights.T @ outer).reshape(x.shape) * amplitude  # tanh'(0) = 1
    if optimizer.startswith("Adam"):
        step = -gradient / (np.abs(gradient) + 1e-8)  # both moments are unbiased after one step
    else:
        step = -500.0 * gradient
    changed = x + std * amplitude * np.tanh(step)
    expected = np.rint(np.clip(changed, 0, 1) * 255).transpose(1, 2, 0).astype(np.uint8)

    assert np.abs(expected.astype(int) - to_pixels(image)).max() > 3
    # Single precision may round a value the other way that lies between two levels.
    difference = np.abs(found.pixels.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 2e-3
    assert found.distance_before == pytest.approx(np.linalg.norm(feature - target), rel=1e-4)
    after = weights @ ((found.pixels.transpose(2, 0, 1) / 255 - mean) / std).ravel()
    assert found.distance_after == pytest.approx(np.linalg.norm(after - target), rel=1e-3)
    assert found.code == quantiser.encode(feature[None].astype(np.float32)).tobytes()


def test_no_iteration_gives_the_original(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    result = activate_pictures(images, small_sscd, quantiser, PAPER.replace(iterations=0))
    for image, activated in zip(images, result.images, strict=True):
        assert np.array_equal(activated.pixels, to_pixels(image))
        assert activated.quality.psnr == math.inf
        assert activated.distance_after == pytest.approx(activated.distance_before)


@pytest.fixture(scope="module")
def paper(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> ActivationResult:
    return activate_pictures(images, small_sscd, quantiser)


def test_photographs_come_nearer_to_their_targets(paper: ActivationResult) -> None:
    for image in paper.images:
        assert image.distance_after < 0.95 * image.distance_before
    assert f"{paper.distance_before:.3f} -> {paper.distance_after:.3f}" in str(paper)


def test_the_change_is_as_small_as_published(paper: ActivationResult) -> None:
    # 42.57 +- 2.27 dB, SSIM 0.982 +- 0.016 and L-infinity 14.65 +- 1.27 on DISC21, whose images are
    # several times larger: reduced ones have more edges, which hide more.
    assert 36.0 < paper.psnr < 47.0
    assert 0.95 < paper.ssim < 1.0
    assert 8.0 < paper.linf < 30.0


def test_what_is_reported_is_measured_on_the_pixels_to_be_released(
    paper: ActivationResult,
    small_sscd: Extractor,
    quantiser: Quantiser,
    images: list[torch.Tensor],
) -> None:
    for image, activated in zip(images, paper.images, strict=True):
        assert activated.pixels.dtype == np.uint8
        assert activated.pixels.shape == (*image.shape[1:], 3)
        found, expected = activated.quality, measure_quality(to_pixels(image), activated.pixels)
        assert (found.psnr, found.linf) == (expected.psnr, expected.linf)
        assert found.ssim == pytest.approx(expected.ssim, abs=1e-5)  # Computed on the device.
        before, after = (
            features_of(small_sscd, resize_square(picture, 96).unsqueeze(0))
            for picture in (image, to_tensor(activated.pixels))
        )
        target = quantiser.reconstruct(before)
        assert activated.code == quantiser.encode(before).tobytes()
        assert activated.distance_before == pytest.approx(
            np.linalg.norm(before - target), abs=tolerance(small_sscd)
        )
        assert activated.distance_after == pytest.approx(
            np.linalg.norm(after - target), abs=tolerance(small_sscd)
        )


def test_an_image_turns_out_the_same_in_any_batch_and_order(
    paper: ActivationResult,
    small_sscd: Extractor,
    quantiser: Quantiser,
    images: list[torch.Tensor],
) -> None:
    turned = activate_pictures(images[::-1], small_sscd, quantiser, numbers=[2, 1, 0])
    alone = activate_pictures(images[1:2], small_sscd, quantiser, numbers=[1])
    expected = [image.pixels for image in paper.images]
    found = [*(image.pixels for image in turned.images[::-1]), alone.images[0].pixels]
    if small_sscd.device.type == "cpu":
        assert all(map(np.array_equal, found, [*expected, expected[1]]))
    for pixels, like in zip(found, [*expected, expected[1]], strict=True):
        assert np.abs(pixels.astype(int) - like).mean() < 1.0


def test_groups_that_are_on_their_way_together_do_not_mix(
    monkeypatch: pytest.MonkeyPatch,
    small_sscd: Extractor,
    quantiser: Quantiser,
    images: list[torch.Tensor],
) -> None:
    """As on an accelerator, where the files of one group are written while others are optimised."""
    several = [image[:, top : top + 96, :96] for image in images for top in (0, 8, 16)]
    two = ActivationSettings(iterations=2, optimizer="SGD,lr=500.0")
    steps: list[Step] = []
    told = threading.Lock()

    def note(step: Step) -> None:
        assert told.acquire(blocking=False), "told of two steps at a time"
        time.sleep(1e-4)
        steps.append(step)
        told.release()

    one_by_one = activate_pictures(several, small_sscd, quantiser, two)
    module = importlib.import_module("activeindex.activation.activate")
    monkeypatch.setattr(module, "together_on", lambda device: 2)
    found = activate_pictures(several, small_sscd, quantiser, two, on_step=note)
    for image, expected in zip(found.images, one_by_one.images, strict=True):
        assert np.abs(image.pixels.astype(int) - expected.pixels).mean() < 0.1
        assert image.quality.psnr == pytest.approx(expected.quality.psnr, abs=0.5)
        assert image.distance_after == pytest.approx(expected.distance_after, abs=3e-2)
    assert sorted((step.number, step.iteration) for step in steps) == [
        (number, iteration) for number in range(9) for iteration in range(2)
    ]


@settings(max_examples=50)
@given(areas=st.lists(st.integers(1, 2**25), max_size=200))
def test_what_a_gpu_activates_together_is_bounded_by_pixels_and_number(areas: list[int]) -> None:
    groups = list(grouped(areas, int, torch.device("cuda")))
    assert [area for group in groups for area in group] == areas
    for group in groups:
        assert len(group) <= 64
        assert len(group) == 1 or sum(group) <= 2**24
    for group, following in itertools.pairwise(groups):  # No more groups than that takes.
        assert len(group) == 64 or sum(group) + following[0] > 2**24


def test_the_seed_draws_the_noise_at_the_start(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    # Strong enough to be seen in the pixels: nothing but the noise is left at one step of size 0.
    settings = PAPER.replace(iterations=2, optimizer="SGD,lr=0.0", use_tanh=False, scaling=3e7)
    first, same, other = (
        activate_pictures(images[:1], small_sscd, quantiser, settings, seed=seed).images[0].pixels
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_step_is_reported_with_its_losses(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    steps: list[Step] = []
    activate_pictures(images[:2], small_sscd, quantiser, FEW, numbers=[7, 9], on_step=steps.append)
    steps.sort(key=lambda step: (step.number, step.iteration))
    assert [(step.number, step.iteration) for step in steps] == [
        (number, iteration) for number in (7, 9) for iteration in range(4)
    ]
    for step in steps:
        assert step.loss == pytest.approx(step.loss_f + 0.01 * step.loss_i, abs=1e-6)
        assert -1.0 <= step.loss_f <= 1.0
    assert steps[0].loss_i < 1e-10 < steps[1].loss_i
    assert steps[3].loss_f < steps[0].loss_f


def test_each_target_is_what_its_name_says(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    before = {
        target: activate_pictures(
            images[:1], small_sscd, quantiser, PAPER.replace(iterations=0, target=target)
        ).distance_before
        for target in TARGETS
    }
    feature = features_of(small_sscd, resize_square(images[0], 96).unsqueeze(0))
    to_centroid = float(np.linalg.norm(quantiser.coarse_centroids(feature) - feature))
    to_code = float(np.linalg.norm(quantiser.reconstruct(feature) - feature))
    near = tolerance(small_sscd)
    assert before == {
        "pq_recons": pytest.approx(to_code, abs=near),
        "ori_ft": 0.0,
        "ivf_cluster": pytest.approx(to_centroid, abs=near),
        "ivf_cluster_half": pytest.approx(to_centroid / 2, abs=near),
    }


@pytest.mark.parametrize("target", ["ivf_cluster", "ivf_cluster_half"])
def test_centroids_are_reached_for_too(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor], target: str
) -> None:
    settings = PAPER.replace(target=target, loss_f="mse")
    result = activate_pictures(images[:1], small_sscd, quantiser, settings)
    assert result.distance_after < result.distance_before


@pytest.mark.parametrize("target", ["ivf_cluster", "ivf_cluster_half"])
def test_an_index_without_lists_has_no_centroid_to_reach_for(target: str) -> None:
    quantiser = linear_quantiser("PQ4x4np")
    settings = PAPER.replace(target=target)
    with pytest.raises(NoTargetError, match=r"no inverted lists.*use the target pq_recons$"):
        activate_pictures([torch.rand(3, 40, 40)], LinearExtractor(), quantiser, settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_tanh": False, "optimizer": "Adam,lr=0.5"},
        {"scale_channels": False},
        {"scaling": 1.0},
        {"loss_f": "mse"},
        {"lambda_i": 10.0},
        {"optimizer": "SGD,lr=1000"},
        {"optimizer": "LBFGS,lr=1"},
        {"scheduler": "StepLR,step_size=1,gamma=0.5"},
        {"target": "ori_ft", "lambda_i": 100.0},
    ],
    ids=str,
)
def test_every_setting_counts(
    small_sscd: Extractor,
    quantiser: Quantiser,
    images: list[torch.Tensor],
    changes: dict[str, object],
) -> None:
    settings = FEW.replace(**changes)
    changed = activate_pictures(images[:1], small_sscd, quantiser, settings).images[0]
    paper = activate_pictures(images[:1], small_sscd, quantiser, FEW).images[0]
    assert not np.array_equal(changed.pixels, paper.pixels)
    assert changed.quality.psnr > 20


def test_without_masking_flat_areas_change_as_much_as_edges(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    def changes(settings: ActivationSettings) -> npt.NDArray[np.int64]:
        pixels = activate_pictures(images[:1], small_sscd, quantiser, settings).images[0].pixels
        difference: npt.NDArray[np.int64] = pixels.astype(np.int64) - to_pixels(images[0])
        return np.abs(difference)

    masked, even = changes(FEW), changes(FEW.replace(use_attenuation=False))
    # Without the map blue may change by 0.225 * 0.632 * 255 = 36 levels, anywhere.
    assert even.max() in range(25, 38)
    assert masked.mean() < even.mean() / 3
    assert even[..., 2].mean() > 2 * even[..., 1].mean()


def test_a_stronger_image_loss_keeps_the_image_nearer(
    small_sscd: Extractor, quantiser: Quantiser, images: list[torch.Tensor]
) -> None:
    weak, strong = (
        activate_pictures(images[:1], small_sscd, quantiser, PAPER.replace(lambda_i=value)).psnr
        for value in (0.01, 100.0)
    )
    assert strong > weak + 3


def test_half_precision_comes_as_near(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    both = [
        activate_pictures(
            images[:1], small_sscd, quantiser, FEW.replace(iterations=2, precision=precision)
        )
        for precision in PRECISIONS
    ]
    assert both[0].distance_before == both[1].distance_before
    assert both[0].distance_after == pytest.approx(both[1].distance_after, rel=0.05)
    assert both[0].psnr == pytest.approx(both[1].psnr, abs=0.3)


def test_what_cannot_be_activated_is_told() -> None:
    extractor, quantiser = LinearExtractor(), linear_quantiser()
    with pytest.raises(ShapeError, match=r"^image: expected shape \(3, H, W\), found \(1, 40, 40"):
        activate_pictures([torch.rand(1, 40, 40)], extractor, quantiser)
    with pytest.raises(InputError, match=r"^numbers: expected 2, one per image, found 1$"):
        activate_pictures([torch.rand(3, 40, 40)] * 2, extractor, quantiser, numbers=[0])
    other = Quantiser(train_faiss(linear_features(100)[:, :4], "Flat", "L2"))
    with pytest.raises(InputError, match=r"^index: .* linear .* dimension 8, found dimension 4$"):
        activate_pictures([torch.rand(3, 40, 40)], extractor, other)


def test_nothing_to_do_is_no_error(small_sscd: Extractor, quantiser: Quantiser) -> None:
    assert len(activate_pictures([], small_sscd, quantiser)) == 0


def test_images_move_towards_the_targets_of_all_their_indexes(images: list[torch.Tensor]) -> None:
    extractor = LinearExtractor()
    first, second = linear_quantiser(), linear_quantiser("PQ2x3np")
    settings = FEW.replace(loss_f="mse")
    alone = activate_pictures(images, extractor, first, settings)
    both = activate_pictures(images, extractor, [first, second], settings)
    for one, image in zip(alone.images, both.images, strict=True):
        assert [len(aim.code) for aim in image.aims] == [first.code_size, second.code_size]
        assert (image.code, image.aims[0].distance_before) == (one.code, one.distance_before)
        assert image.distance_after < image.distance_before
    before, after = (
        np.mean([getattr(image.aims[1], f"distance_{when}") for image in both.images])
        for when in ("before", "after")
    )
    assert after < before


def test_indexes_of_other_features_are_refused(images: list[torch.Tensor]) -> None:
    other = Quantiser(train_faiss(linear_features(200)[:, :4].copy(), "PQ2x4np", "L2"))
    with pytest.raises(InputError, match=r"^index: .* of dimension 8, found dimension 4$"):
        activate_pictures(images, LinearExtractor(), [linear_quantiser(), other], FEW)
    with pytest.raises(InputError, match=r"^index: expected one or more, found none$"):
        activate_pictures(images, LinearExtractor(), [], FEW)
