import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from activeindex.errors import ShapeError
from activeindex.images.levels import Pixels
from activeindex.images.quality import measure_quality


def test_an_identical_image_is_perfect(photographs: dict[str, Pixels]) -> None:
    quality = measure_quality(photographs["rocket"], photographs["rocket"].copy())
    assert quality.psnr == math.inf
    assert quality.ssim == 1.0
    assert quality.linf == 0


def test_one_level_everywhere_is_48_13_db() -> None:
    original = np.full((20, 30, 3), 100, dtype=np.uint8)
    quality = measure_quality(original, original + np.uint8(1))
    assert quality.psnr == pytest.approx(48.1308, abs=1e-4)  # 20 log10(255)
    assert quality.linf == 1


def test_the_psnr_is_over_all_pixels_and_channels() -> None:
    original = np.zeros((20, 20, 3), dtype=np.uint8)
    changed = original.copy()
    changed[0, 0, 2] = 120  # mean squared error 120^2 / 1200 = 12
    quality = measure_quality(original, changed)
    assert quality.psnr == pytest.approx(37.3390, abs=1e-4)  # 10 log10(255^2 / 12)
    assert quality.linf == 120


def test_black_against_white_is_the_worst() -> None:
    black = np.zeros((20, 20, 3), dtype=np.uint8)
    quality = measure_quality(black, black + np.uint8(255))
    assert quality.psnr == 0.0
    assert quality.linf == 255
    assert quality.ssim == pytest.approx(1e-4, rel=1e-3)  # C1 / (1 + C1), C1 = 0.01^2


def test_flat_images_have_the_similarity_of_their_levels() -> None:
    flat = np.full((20, 20, 3), 102, dtype=np.uint8)  # 0.4 against 0.6:
    quality = measure_quality(flat, flat + np.uint8(51))  # (2*.24 + C1) / (.16 + .36 + C1)
    assert quality.ssim == pytest.approx(0.92309, abs=1e-4)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee"])
@pytest.mark.parametrize("strength", [2.0, 8.0, 30.0])
def test_ssim_agrees_with_scikit_image(
    photographs: dict[str, Pixels], name: str, strength: float
) -> None:
    original = photographs[name][100:260, 100:300]
    noise = np.random.default_rng(0).normal(0, strength, original.shape)
    changed = np.clip(original + noise, 0, 255).round().astype(np.uint8)
    # scikit-image's mean leaves out the border; ours, like its map, mirrors the image there.
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        original,
        changed,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    assert measure_quality(original, changed).ssim == pytest.approx(similarity.mean(), abs=1e-3)


def test_different_shapes_are_refused_with_both() -> None:
    with pytest.raises(ShapeError, match=r"\(20, 20, 3\), found \(20, 21, 3\)$"):
        measure_quality(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))
