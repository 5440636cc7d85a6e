"""The losses on features whose values can be worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from training.losses import contrast, entropy


def test_orthogonal_features_have_the_entropy_of_their_distance() -> None:
    features = torch.eye(4)
    # The own other view, at distance 0, does not count; all else is at the square root of 2.
    assert entropy(features, features).item() == pytest.approx(-0.5 * math.log(2), abs=1e-6)


def test_features_that_spread_have_a_lower_entropy_term() -> None:
    directions = F.normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    narrow = F.normalize(directions * 0.1 + torch.eye(8)[0], dim=1)
    assert entropy(directions, directions) < entropy(narrow, narrow) - 1


def test_entropy_stays_finite_where_images_coincide() -> None:
    features = torch.ones(3, 4).div(2).requires_grad_()
    value = entropy(features, features)
    value.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(value.item())
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_orthogonal_copies_have_the_contrast_of_the_formula() -> None:
    features = torch.eye(4)
    # One view at similarity 1, the six of other images at 0.
    expected = -math.log(math.exp(2) / (math.exp(2) + 6))
    assert contrast(features, features, 0.5).item() == pytest.approx(expected, abs=1e-6)


def test_copies_that_are_found_cost_less_than_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(32, 16, generator=generator), dim=1) for _ in range(2))
    assert contrast(one, one, 0.05) < 0.5 < contrast(one, other, 0.05)
