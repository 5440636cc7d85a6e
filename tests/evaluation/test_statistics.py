import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.evaluation.statistics import (
    holm_adjusted,
    mcnemar_test,
    mean_of_means_interval,
    paired_interval,
    sign_flip_test,
    wilson_interval,
)

stats = pytest.importorskip("scipy.stats", reason="scipy checks our closed forms")


@given(st.integers(1, 500), st.data())
def test_wilson_interval_is_that_of_scipy(queries: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, queries))
    expected = stats.binomtest(hits, queries).proportion_ci(method="wilson")
    assert wilson_interval(hits, queries) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_test_is_scipys_binomial_test_of_the_discordant(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_test(gained, lost) == pytest.approx(expected, abs=1e-12)


def test_mcnemars_test_takes_as_many_queries_as_disc21_has() -> None:
    assert mcnemar_test(6000, 5000) < 1e-20
    assert mcnemar_test(5000, 5000) == 1.0


def test_no_query_has_no_interval() -> None:
    with pytest.raises(InputError, match="found 0"):
        wilson_interval(0, 0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_paired_interval_turns_round_with_the_runs(gained: int, lost: int, same: int) -> None:
    queries = gained + lost + same
    low, high = paired_interval(gained, lost, queries)
    assert -1 <= low <= high <= 1
    assert paired_interval(lost, gained, queries) == pytest.approx((-high, -low))


def test_paired_interval_of_a_published_example() -> None:
    """12 and 2 of 50 queries: (13 - 3) / 52 ± 1.96 sqrt((16/52 - (10/52)²) / 52), by hand."""
    assert paired_interval(12, 2, 50) == pytest.approx((0.0508, 0.3338), abs=2e-3)


def test_holms_adjustment_by_hand() -> None:
    assert holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_adjusted([0.9, 0.8]) == [1.0, 1.0]


def test_bootstrap_treats_the_queries_of_an_image_as_one() -> None:
    """The same hits under ten edits are no more evidence than under one."""
    one = np.repeat([[0.0, 1.0]], 20, axis=1).reshape(1, -1)
    ten = np.repeat(one, 10, axis=0)
    assert mean_of_means_interval(ten) == pytest.approx(mean_of_means_interval(one))
    low, high = mean_of_means_interval(one)
    assert low < 0.5 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.15)


def test_edit_without_a_query_of_some_images_counts_with_those_it_has() -> None:
    values = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, np.nan, np.nan, 1.0]])
    assert mean_of_means_interval(values) == (1.0, 1.0)


def test_sign_flips_tell_a_gain_from_none() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, 100)
    assert sign_flip_test(noise - noise.mean()) > 0.9
    assert sign_flip_test(noise - noise.mean() + 0.6) < 0.001
    assert sign_flip_test(np.zeros(5)) == 1.0
