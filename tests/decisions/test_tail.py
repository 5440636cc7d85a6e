"""The tail of a sample gives its probabilities, within and beyond it."""

import numpy as np
import pytest

from activeindex.decisions.tail import LEAST, Tail
from activeindex.errors import InputError


@pytest.mark.parametrize(
    ("shape", "survival"),
    [
        (0.0, lambda x: np.exp(-x)),
        (-0.25, lambda x: np.maximum(1 - 0.25 * x, 0.0) ** 4),
        (0.2, lambda x: (1 + 0.2 * x) ** -5.0),
    ],
)
def test_probabilities_are_those_that_the_sample_was_drawn_with(shape: float, survival) -> None:  # type: ignore[no-untyped-def]
    uniform = np.random.default_rng(0).uniform(size=1_000_000)
    sample = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    tail = Tail.fit(sample)
    assert tail.shape == pytest.approx(shape, abs=0.05)
    scores = np.quantile(sample, (0.1, 0.5, 0.9, 0.99, 0.995, 0.999, 0.9999))
    found = tail.probability(scores)
    np.testing.assert_allclose(found, survival(scores), rtol=0.1)
    # A hundred times beyond what the sample's size shows.
    beyond = {0.0: 18.4, -0.25: 3.96, 0.2: 194.0}[shape]
    assert tail.probability(np.array([beyond]))[0] == pytest.approx(survival(beyond), rel=2.0)


def test_probabilities_never_rise_and_never_reach_zero() -> None:
    tail = Tail.fit(np.random.default_rng(0).uniform(size=20_000))
    found = tail.probability(np.linspace(-1, 3, 1000))
    assert (np.diff(found) <= 0).all()
    assert (found[0], found[-1]) == (1.0, LEAST)


def test_too_few_scores_are_refused() -> None:
    with pytest.raises(InputError, match="background: expected 100 pairs at least, found 99"):
        Tail.fit(np.arange(99.0))
