import dataclasses

import numpy as np
import pytest
import torch

from activeindex.activation.activate import activate_pictures
from activeindex.activation.results import ActivatedImage, ActivationResult
from activeindex.activation.settings import DEEP, PAPER, PRESETS, ActivationSettings, Budget, Preset
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.training import train_faiss


def test_the_paper_preset_has_the_published_values() -> None:
    assert PRESETS["paper"].settings == PAPER == ActivationSettings()
    assert dataclasses.asdict(PAPER) == {
        "iterations": 10,
        "optimizer": "Adam,lr=1e-0",
        "scheduler": None,
        "target": "pq_recons",
        "loss_f": "cossim",
        "lambda_f": 1.0,
        "lambda_i": 0.01,
        "use_tanh": True,
        "scale_channels": True,
        "use_attenuation": True,
        "mask": "jnd",
        "fine_blue": False,
        "scaling": 3.0,
        "margin_weight": 0.0,
        "edited_views": 0,
        "image_every_step": True,
        "full_size": True,
        "descriptor_views": 0,
        "margin_width": 0.1,
        "precision": "float32",
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iterations", -1, "iterations: expected 0 or more, found -1"),
        ("iterations", 2.5, "iterations: expected a whole number, found 2.5"),
        ("iterations", None, "iterations: expected a whole number, found None"),
        ("lambda_f", "1", "lambda_f: expected a number, found '1'"),
        ("target", "pq", "target: expected one of pq_recons, ori_ft, ivf_cluster, "),
        ("precision", "half", "precision: expected one of float32, bfloat16, found 'half'"),
        (
            "loss_f",
            "l1",
            "loss_f: expected one of cossim, mse or your own as package.module:name, found 'l1'",
        ),
        ("lambda_f", -0.5, "lambda_f: expected 0 or more, found -0.5"),
        ("lambda_i", float("nan"), "lambda_i: expected 0 or more, found nan"),
        ("scaling", float("inf"), "scaling: expected 0 or more, found inf"),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        PAPER.replace(**{field: value})
    assert str(caught.value).startswith(message)


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.iterations = 3  # type: ignore[misc]
    assert PAPER.replace(iterations=3).iterations == 3
    assert PAPER.iterations == 10


def least_margins(
    pixels: list[Pixels], originals: list[torch.Tensor], extractor: Extractor, quantiser: Quantiser
) -> np.ndarray:
    """Smallest margin of each image's feature in the cell of its original and towards its code."""
    margins = []
    for changed, original in zip(pixels, originals, strict=True):
        first = feature(original, extractor)
        faces, centroid_half_space = (
            quantiser.half_spaces(first),
            quantiser.centroid_half_space(first),
        )
        assert faces is not None
        assert centroid_half_space is not None
        now = torch.from_numpy(feature(to_tensor(changed), extractor))
        margins.append(faces.with_those_of(centroid_half_space).margin(now).min().item())
    return np.array(margins)


def feature(image: torch.Tensor, extractor: Extractor) -> Features:
    return features_of(extractor, resize_square(image, extractor.input_size).unsqueeze(0))


def activated(
    preset: Preset, images: list[torch.Tensor], extractor: Extractor, quantiser: Quantiser
) -> ActivationResult:
    return activate_pictures(images, extractor, quantiser, preset.settings, release=preset.release)


def assert_spent(image: ActivatedImage) -> None:
    """Check that both bounds of the presets are kept, and one of them is spent."""
    score = image.ssimulacra2
    assert score is not None
    assert score >= 87.5
    assert image.psnr >= 42.5
    assert score < 88.5 or image.psnr < 42.8


def test_within_the_same_bounds_deep_and_fast_go_further_from_the_faces_than_the_paper(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    paper, deep = (
        activated(Preset(preset.settings, DEEP.release), images, small_sscd, quantiser)
        for preset in (PRESETS["paper"], DEEP)
    )
    for result in (paper, deep):
        assert [image.passes for image in result.images] == [10, 10, 10]
        for image in result.images:
            assert_spent(image)
    fast = activated(PRESETS["fast"], images, small_sscd, quantiser)
    assert [image.passes for image in fast.images] == [5, 5, 5]
    margins = [
        least_margins([i.pixels for i in result.images], images, small_sscd, quantiser)
        for result in (deep, fast, paper)
    ]
    assert (margins[0] > margins[2]).all()
    assert (margins[1] > margins[2]).all()


def test_thorough_looks_at_three_views_a_step_and_keeps_the_floor_of_deep(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    found = activated(PRESETS["thorough"], images[:1], small_sscd, quantiser).images[0]
    assert found.passes == 20
    assert_spent(found)


def test_deep_comes_nearer_to_the_target_without_cells(
    images: list[torch.Tensor], crops: list[torch.Tensor], small_sscd: Extractor
) -> None:
    features: Features = np.concatenate([feature(crop, small_sscd) for crop in crops])
    exhaustive = Quantiser(train_faiss(features, "PQ8x4", "L2"))
    result = activated(DEEP, images, small_sscd, exhaustive)
    assert result.distance_after < 0.9 * result.distance_before


@pytest.mark.parametrize("scale", [0.02, 50.0])
def test_the_margin_does_not_depend_on_the_unit_of_the_features(
    images: list[torch.Tensor], crops: list[torch.Tensor], small_sscd: Extractor, scale: float
) -> None:
    class Scaled(Extractor):
        def __init__(self) -> None:
            super().__init__(small_sscd.identity, small_sscd.dimension)
            self.network = small_sscd

        def _features(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = scale * self.network(pixels)
            return found

    features: Features = np.concatenate([feature(crop, small_sscd) for crop in crops])
    settings, release = DEEP.settings.replace(iterations=3), DEEP.release
    plain, scaled = (
        activate_pictures(
            images[:1],
            extractor,
            Quantiser(train_faiss(rows, "IVF4,Flat", "L2")),
            settings,
            release=release,
        ).images[0]
        for extractor, rows in ((small_sscd, features), (Scaled(), np.float32(scale) * features))
    )
    differences = np.abs(plain.pixels.astype(int) - scaled.pixels.astype(int))
    if small_sscd.device.type == "cpu":
        assert differences.max() <= 1
    assert differences.mean() < 0.3  # A GPU does not add up twice alike.


def test_a_budget_of_ones_own_takes_the_place_of_the_presets(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    from activeindex.activation.settings import ReleaseSettings

    release = ReleaseSettings(budget=Budget(psnr=46.0))
    result = activate_pictures(images[:1], small_sscd, quantiser, DEEP.settings, release=release)
    assert 46.0 <= result.psnr < 46.5
