import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from activeindex.errors import InputError
from activeindex.evaluation.comparison import HitTable, PairedComparison, paired_difference
from activeindex.evaluation.copy_detection import (
    DetectionResult,
    ScoredPairs,
    micro_ap_interval,
    micro_average_precision,
)
from activeindex.evaluation.csv_files import RetrievalColumns
from activeindex.evaluation.retrieval import RetrievalResult

NEIGHBOURS = 5


def table(found: dict[str, list[bool]], first_id: int = 0) -> HitTable:
    rows = []
    for attack, images in found.items():
        for number, hit in enumerate(images):
            image = first_id + number
            ids = np.full(NEIGHBOURS, 10_000)
            ids[0 if hit else 1] = image
            distances = np.arange(NEIGHBOURS)
            rows.append(RetrievalResult.from_search(0, image, attack, None, distances, ids))
    return HitTable.from_columns(RetrievalColumns.from_rows(rows), first_id)


def test_queries_are_paired_by_image_and_edit() -> None:
    first = table({"none": [True] * 8, "blur": [True] + [False] * 7})
    second = table({"blur": [False] + [True] * 7, "hflip": [True] * 8, "none": [True] * 8})
    found = PairedComparison.between(first, second)
    assert [row.label for row in found.rows] == ["none", "blur"]
    blur = found.rows[1]
    assert (blur.queries, blur.only_first, blur.only_second) == (8, 1, 7)
    assert (blur.first, blur.second, blur.difference) == (1 / 8, 7 / 8, 6 / 8)
    assert blur.p == pytest.approx(2 * (1 + 8) / 2**8)  # 0 or 1 of 8, either way
    assert blur.p_adjusted == pytest.approx(2 * blur.p)
    assert found.rows[0].p == 1.0
    assert found.average.difference == pytest.approx(3 / 8)


def test_collections_with_other_references_are_paired_by_the_images_numbers() -> None:
    hits = [True, False, True]
    found = PairedComparison.between(table({"none": hits}, 700), table({"none": hits}, 40))
    assert (found.rows[0].queries, found.rows[0].difference) == (3, 0.0)
    assert found.average.interval == (0.0, 0.0)
    assert found.average.p == 1.0


@pytest.mark.parametrize(
    ("other", "missing"),
    [(table({"blur": [True]}), "edit"), (table({"none": [True]}, 5), "query|image")],
)
def test_runs_without_a_common_query_are_refused(other: HitTable, missing: str) -> None:
    shifted = HitTable(other.edits, other.images + (missing != "edit") * 9, other.hits)
    with pytest.raises(InputError, match=f"no ({missing}) in both"):
        PairedComparison.between(table({"none": [True]}), shifted)


def detections(seed: int, gap: float) -> list[DetectionResult]:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(60):
        matching = number < 30
        distances = np.sort(generator.uniform(1, 1.2, 6)).astype(np.float32)
        ids = generator.permutation(1000)[:6] + 100
        if matching:
            ids[0] = number
            distances[0] -= gap * generator.uniform()
        rows.append(
            DetectionResult.from_search(0, number if matching else -1, "auto", distances, ids)
        )
    return rows


def test_micro_ap_is_that_of_scikit_learn_and_lies_in_its_interval() -> None:
    rows = detections(0, 0.2)
    pairs = ScoredPairs.from_rows(rows, "L2")
    expected = average_precision_score(pairs.positive, pairs.scores)
    assert micro_average_precision(pairs) == pytest.approx(expected)
    low, high = micro_ap_interval(pairs)
    assert low < expected < high


def test_query_counted_twice_is_a_query_that_came_twice() -> None:
    rows = detections(0, 0.2)
    weights = np.ones(len(rows))
    weights[[3, 40]] = 2
    pairs = ScoredPairs.from_rows(rows, "L2")
    twice = micro_average_precision(ScoredPairs.from_rows([*rows, rows[3], rows[40]], "L2"))
    assert micro_average_precision(pairs, weights) == pytest.approx(twice)
    weighted = average_precision_score(
        pairs.positive, pairs.scores, sample_weight=weights[pairs.query]
    )
    assert micro_average_precision(pairs, weights) == pytest.approx(weighted)


def test_micro_ap_is_compared_over_the_same_queries_only() -> None:
    first, second = (ScoredPairs.from_rows(detections(0, gap), "L2") for gap in (0.05, 0.6))
    interval = paired_difference(first, second)
    assert interval is not None
    gain = micro_average_precision(second) - micro_average_precision(first)
    assert 0 < interval.low < gain < interval.high
    assert paired_difference(first, ScoredPairs.from_rows(detections(0, 0.1)[1:], "L2")) is None
