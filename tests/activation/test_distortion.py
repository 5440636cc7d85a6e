import numpy as np
import pytest
import torch

from activeindex.activation.perceptual import (
    CHANNEL_WEIGHTS,
    in_pixels,
    initial_distortion,
    shape_distortion,
)
from activeindex.activation.settings import ActivationSettings

ONLY = ActivationSettings(use_tanh=False, scale_channels=False, use_attenuation=False)


def shaped(settings: ActivationSettings) -> list[float]:
    """Red, green and blue of a free tensor of 0.5 where a change of 10 levels can be seen."""
    free, jnd = torch.full((1, 3, 1, 1), 0.5), torch.full((1, 1, 1, 1), 10 / 255)
    values: list[float] = shape_distortion(free, jnd, settings).flatten().tolist()
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
