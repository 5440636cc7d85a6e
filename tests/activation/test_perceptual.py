import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from activeindex.activation.perceptual import (
    CHANNEL_WEIGHTS,
    contrast_masking,
    in_pixels,
    initial_distortion,
    jnd_in_strips,
    jnd_map,
    luminance_adaptation,
    mask_of,
    squash,
)
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import ShapeError
from activeindex.images.levels import Pixels, to_tensor


def grey(levels: torch.Tensor) -> torch.Tensor:
    """An image (1, 3, H, W) in [0, 1] of grey levels (H, W) in 0..255."""
    return (levels / 255.0).expand(1, 3, *levels.shape)


def levels_of(levels: torch.Tensor) -> torch.Tensor:
    """The map (H, W) in 8-bit levels."""
    return jnd_map(grey(levels))[0, 0] * 255.0


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.0, 19.4624),  # 17 (1 - sqrt(0.001)) + 3
        (32.0, 11.4497),  # 17 (1 - sqrt(32/127 + 0.001)) + 3
        (127.0, 5.0),  # 2.99 is below the floor
        (128.0, 5.0),  # 3.02 too
        (255.0, 6.0),  # 3/128 * 128 + 3
    ],
)
def test_inside_a_flat_image_only_the_luminance_counts(level: float, expected: float) -> None:
    inner = levels_of(torch.full((9, 9), level))[2:-2, 2:-2]
    assert torch.allclose(inner, torch.full_like(inner, expected), atol=1e-3)


def test_beyond_the_border_is_black() -> None:
    # At the corner the kernel weighs 11 of 32: B = 32 * 11 / 32 = 11, LA = 14.9681. The Sobel
    # gradients are 32 * (2 + 1) = 96 both ways, C = 135.76, CM = 12.8759.
    corner = levels_of(torch.full((9, 9), 32.0))[0, 0]
    assert corner.item() == pytest.approx(14.9681 + 12.8759 - 0.3 * 12.8759, abs=1e-3)


def test_a_vertical_edge_hides_changes_beside_it() -> None:
    # From 60 to 160: both columns at the edge have C = 4 * 100 = 400, so
    # CM = 0.117 * 16 * 400^2.4 / (400^2 + 26^2) = 20.4785.
    levels = torch.full((9, 12), 60.0)
    levels[:, 6:] = 160.0
    row = levels_of(levels)[4]
    # B = (19*60 + 13*160) / 32 = 100.625, LA = 4.8583; (13*60 + 19*160) / 32 = 119.375, 3.5095.
    assert row[5].item() == pytest.approx(20.4785 + 0.7 * 4.8583, abs=1e-3)
    assert row[6].item() == pytest.approx(20.4785 + 0.7 * 3.5095, abs=1e-3)
    # One column further only the local mean sees the edge: B = (27*60 + 5*160) / 32 = 75.625.
    assert row[4].item() == pytest.approx(6.8706, abs=1e-3)
    assert row[7].item() == 5.0  # LA = 3.4072
    assert row[3].item() == pytest.approx(17 * (1 - math.sqrt(60 / 127 + 0.001)) + 3, abs=1e-3)


@pytest.mark.parametrize(("height", "width"), [(203, 200), (40, 5000), (3, 7), (1, 1)])
def test_the_map_is_the_same_in_strips(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)
    assert torch.allclose(jnd_in_strips(levels), jnd_map(levels / 255.0), atol=1e-6)


def test_a_horizontal_edge_hides_as_much_as_a_vertical_one() -> None:
    levels = torch.full((12, 12), 60.0)
    levels[:, 6:] = 160.0
    assert torch.allclose(levels_of(levels).T, levels_of(levels.T), atol=1e-4)


def test_the_local_mean_leaves_out_the_pixel_itself() -> None:
    levels = torch.full((1, 1, 9, 9), 60.0)
    flat = luminance_adaptation(levels)[0, 0, 4, 4].item()
    levels[0, 0, 4, 4] = 255.0
    adaptation = luminance_adaptation(levels)[0, 0]
    assert adaptation[4, 4].item() == pytest.approx(flat)
    # A neighbour weighs it with 2 of 32: B = 60 + 195 * 2 / 32 = 72.1875.
    assert adaptation[4, 5].item() == pytest.approx(
        17 * (1 - math.sqrt(72.1875 / 127 + 0.001)) + 3, abs=1e-3
    )


def test_a_flat_area_masks_nothing() -> None:
    assert contrast_masking(torch.full((1, 1, 5, 5), 200.0))[0, 0, 2, 2].item() == 0.0


def test_luminance_weighs_green_most() -> None:
    # 150 levels of red, green and blue: Y = 44.85, 88.05, 17.1.
    for channel, luminance in enumerate((44.85, 88.05, 17.1)):
        image = torch.zeros(1, 3, 9, 9)
        image[:, channel] = 150.0 / 255.0
        expected = 17 * (1 - math.sqrt(luminance / 127 + 0.001)) + 3
        assert jnd_map(image)[0, 0, 4, 4].item() * 255 == pytest.approx(expected, abs=1e-3)


def test_the_map_has_one_channel_and_the_unit_of_the_image(
    photographs: dict[str, Pixels],
) -> None:
    map_ = jnd_map(to_tensor(photographs["coffee"]).unsqueeze(0))
    assert map_.shape == (1, 1, 400, 600)
    assert map_.min().item() == pytest.approx(5.0 / 255.0)
    assert map_.max().item() < 0.5


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.2, 0.0]))
def test_nothing_is_below_the_floor_or_undefined(seed: int, contrast: float) -> None:
    noise = torch.rand(1, 3, 12, 13, generator=torch.Generator().manual_seed(seed))
    map_ = jnd_map(noise * contrast)
    assert torch.isfinite(map_).all()
    assert (map_ >= 5.0 / 255.0 - 1e-9).all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 8, 8, 3)])
def test_other_shapes_are_refused_with_both(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(B, 3, H, W\), found"):
        jnd_map(torch.zeros(shape))


ONLY = ActivationSettings(use_tanh=False, scale_channels=False, use_attenuation=False)


def shaped(settings: ActivationSettings) -> list[float]:
    """Red, green and blue of a free tensor of 0.5 where a change of 10 levels can be seen."""
    free, jnd = torch.full((1, 3, 1, 1), 0.5), torch.full((1, 1, 1, 1), 10 / 255)
    values: list[float] = (squash(free, settings) * mask_of(jnd, settings)).flatten().tolist()
    return values


def test_the_channel_weights_are_those_of_the_paper() -> None:
    assert np.allclose(CHANNEL_WEIGHTS, (0.241, 0.123, 0.632), atol=5e-4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ONLY, (0.5, 0.5, 0.5)),
        (ONLY.replace(use_tanh=True), (0.462117, 0.462117, 0.462117)),
        (ONLY.replace(scale_channels=True), (0.120401, 0.061329, 0.315789)),
        (ONLY.replace(use_attenuation=True), (0.0588235,) * 3),  # 0.5 * 3 * 10 / 255
        (ONLY.replace(use_attenuation=True, scaling=1.5), (0.0294118,) * 3),
        (ONLY.replace(scaling=1.5), (0.5, 0.5, 0.5)),
        (ActivationSettings(), (0.0130914, 0.0066684, 0.0343364)),
    ],
)
def test_each_switch_does_its_part(
    settings: ActivationSettings, expected: tuple[float, ...]
) -> None:
    assert shaped(settings) == pytest.approx(expected, rel=1e-4)


def test_it_is_made_for_the_normalised_image() -> None:
    distortion = torch.full((1, 3, 1, 1), 0.1)
    # Undoing (x - mean) / std multiplies by ImageNet's std.
    assert in_pixels(distortion).flatten().tolist() == pytest.approx([0.0229, 0.0224, 0.0225])


def test_it_starts_from_noise_that_nobody_sees() -> None:
    start = initial_distortion(torch.Size((1, 3, 200, 200)), torch.Generator().manual_seed(0))
    assert start.std().item() == pytest.approx(1e-6, rel=0.02)
    assert abs(start.mean().item()) < 1e-8
