"""Pooling of feature maps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.pooling import Pooling, gem


def test_gem_of_a_map_worked_out_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]]]])
    expected = [[((1 + 8 + 27) / 4) ** (1 / 3), 2.0]]
    assert np.allclose(gem(maps, 3.0).numpy(), expected, rtol=1e-5)
    assert np.allclose(Pooling.parse("mean")(maps).numpy(), [[1.5, 2.0]])


@given(st.floats(1.0, 8.0), st.floats(0.1, 4.0), st.integers(0, 2**16))
def test_gem_lies_between_the_mean_and_the_maximum_and_grows_with_p(
    p: float, more: float, seed: int
) -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) + 0.01
    pooled, higher = gem(maps, p), gem(maps, p + more)
    assert (pooled >= maps.mean(dim=(2, 3)) * (1 - 1e-5)).all()
    assert (pooled <= higher * (1 + 1e-5)).all()
    assert (higher <= maps.amax(dim=(2, 3)) * (1 + 1e-5)).all()


def test_the_gradient_is_finite_where_a_channel_is_silent() -> None:
    maps = torch.zeros(1, 2, 3, 3, requires_grad=True)
    gem(maps, 3.0).sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize(("text", "p"), [("mean", None), ("gem", 3.0), ("gem:4.5", 4.5)])
def test_pooling_is_read_and_written(text: str, p: float | None) -> None:
    pooling = Pooling.parse(text)
    assert pooling.p == p
    assert Pooling.parse(str(pooling)) == pooling


@pytest.mark.parametrize("text", ["max", "gem:", "gem:x", "gem:0", "gem:-1", "gem:nan", "gem:inf"])
def test_what_is_no_pooling_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^pooling: expected .*, found "):
        Pooling.parse(text)


def test_a_vector_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(B, C, H, W\), found \(2, 8\)"):
        Pooling()(torch.rand(2, 8))
