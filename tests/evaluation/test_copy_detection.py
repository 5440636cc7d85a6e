import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from activeindex.errors import InputError, ShapeError
from activeindex.evaluation.copy_detection import (
    DetectionResult,
    ScoredPairs,
    micro_average_precision,
    precision_recall,
    score_pairs,
)

PADDING = float(np.finfo(np.float32).max)
"""What FAISS writes as distance where it found nothing."""


def listed(pairs: ScoredPairs) -> list[tuple[float, bool]]:
    scores = [round(score, 6) for score in pairs.scores.tolist()]
    return list(zip(scores, pairs.positive.tolist(), strict=True))


def pairs_of(scores: Sequence[float], positive: Sequence[bool]) -> ScoredPairs:
    truth = np.array(positive, bool)
    queries = np.arange(len(truth))
    return ScoredPairs(np.array(scores, float), truth, queries, np.where(truth, queries, -1))


def test_a_pair_scores_its_lead_over_the_next_and_the_last_is_dropped() -> None:
    pairs = score_pairs([8], [[0.25, 0.75, 1.0]], [[8, 5, 6]], "L2")
    assert listed(pairs) == [(0.5, True), (0.25, False)]


def test_inner_products_are_better_when_larger() -> None:
    pairs = score_pairs([8], [[1.0, 0.75, 0.25]], [[8, 5, 6]], "IP")
    assert listed(pairs) == [(0.25, True), (0.5, False)]


def test_a_matching_query_that_was_missed_adds_a_positive_below_all_others() -> None:
    pairs = score_pairs([9, -1], [[0.25, 0.75, 1.0]] * 2, [[8, 5, 6]] * 2, "L2")
    assert listed(pairs) == [(0.5, False), (0.25, False)] * 2 + [(-1.0, True)]
    assert (pairs.matching, pairs.non_matching) == (1, 1)


def test_an_original_in_last_place_counts_as_missed() -> None:
    pairs = score_pairs([6], [[0.25, 0.75, 1.0]], [[8, 5, 6]], "L2")
    assert listed(pairs) == [(0.5, False), (0.25, False), (-1.0, True)]


def test_pairs_end_at_the_first_id_of_minus_one() -> None:
    pairs = score_pairs([6], [[0.25, 0.75, 1.0, 1.5]], [[8, -1, 6, 5]], "L2")
    assert listed(pairs) == [(0.5, False), (-1.0, True)]


@pytest.mark.parametrize("padding", [PADDING, math.inf, math.nan])
def test_the_lead_over_nothing_is_zero(padding: float) -> None:
    pairs = score_pairs([5], [[0.25, 0.75, padding, padding]], [[8, 5, -1, -1]], "L2")
    assert listed(pairs) == [(0.5, False), (0.0, True)]


def test_the_lead_over_nothing_is_zero_among_inner_products() -> None:
    pairs = score_pairs([5], [[0.75, 0.25, -PADDING, -PADDING]], [[8, 5, -1, -1]], "IP")
    assert listed(pairs) == [(0.5, False), (0.0, True)]


def test_a_query_that_found_nothing_has_no_pairs() -> None:
    nothing = ([PADDING, PADDING], [-1, -1])
    assert listed(score_pairs([-1], [nothing[0]], [nothing[1]], "L2")) == []
    assert listed(score_pairs([3], [nothing[0]], [nothing[1]], "L2")) == [(-1.0, True)]


def test_average_precision_by_hand() -> None:
    # Kept one by one: true, false, true. Precision 1 at recall 1/2, then 2/3 at recall 1.
    pairs = pairs_of([3.0, 2.0, 1.0], [True, False, True])
    assert micro_average_precision(pairs) == pytest.approx((1 + 2 / 3) / 2)


def test_pairs_of_equal_score_are_kept_together() -> None:
    curve = precision_recall(pairs_of([2.0, 2.0, 1.0], [False, True, True]))
    assert curve.thresholds.tolist() == [2.0, 1.0]
    assert curve.precision.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert curve.recall.tolist() == [0.5, 1.0]


scored = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1e-30, 3.0]), st.booleans()),
    min_size=1,
    max_size=60,
).filter(lambda pairs: any(positive for _, positive in pairs))


@given(scored)
def test_micro_ap_and_curve_are_those_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = [list(column) for column in zip(*pairs, strict=True)]
    ours = pairs_of(scores, [bool(value) for value in positive])
    expected = average_precision_score(positive, scores)
    assert micro_average_precision(ours) == pytest.approx(expected, abs=1e-12)
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    curve = precision_recall(ours)
    assert curve.thresholds.tolist() == thresholds[::-1].tolist()
    assert curve.precision.tolist() == pytest.approx(precision[-2::-1].tolist())
    assert curve.recall.tolist() == pytest.approx(recall[-2::-1].tolist())


def slow_pairs(row: DetectionResult) -> list[tuple[float, bool]]:
    """The method in words, one query at a time."""
    pairs = []
    ids, distances = row.retrieved_ids.tolist(), row.retrieved_distances.astype(float)
    for j in range(len(ids) - 1):
        if ids[j] == -1:
            break
        pairs.append((-distances[j] + distances[j + 1], ids[j] == row.image_index))
    if row.is_matching and not any(positive for _, positive in pairs):
        pairs.append((-1.0, True))
    return pairs


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_rows_of_any_k_give_the_pairs_of_the_method(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(20):
        k = int(random.integers(1, 5))
        ids = random.permutation(8)[:k]
        ids[int(random.integers(0, k + 1)) :] = -1
        distances = np.sort(random.random(k))
        image_index = int(random.integers(-1, 8))
        rows.append(DetectionResult.from_search(0, image_index, "auto", distances, ids))
    pairs = ScoredPairs.from_rows(iter(rows), "L2")
    expected = [pair for row in rows for pair in slow_pairs(row)]
    assert sorted(zip(pairs.scores, pairs.positive, strict=True)) == sorted(expected)
    assert pairs.matching + pairs.non_matching == len(rows)


def test_without_matching_queries_there_is_no_micro_ap() -> None:
    pairs = score_pairs([-1], [[0.25, 0.75]], [[8, 5]], "L2")
    assert math.isnan(micro_average_precision(pairs))
    assert math.isnan(micro_average_precision(ScoredPairs.from_rows([], "L2")))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="expected L2 or IP, found 'cosine'"):
        score_pairs([1], [[0.5, 1.0]], [[1, 2]], "cosine")  # type: ignore[arg-type]


def test_a_found_image_without_a_distance_is_refused() -> None:
    with pytest.raises(InputError, match=r"query of image 4: .* found nan for id 9"):
        score_pairs([4], [[0.5, math.nan]], [[4, 9]], "L2")


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ShapeError, match="distances"):
        score_pairs([1, 2], [[0.5, 1.0]], [[1, 2]], "L2")


def test_a_query_below_minus_one_is_refused() -> None:
    with pytest.raises(InputError, match="found -2"):
        DetectionResult.from_search(0, -2, "auto", [0.5], [1])
