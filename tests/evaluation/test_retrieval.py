import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from activeindex.errors import InputError, ShapeError
from activeindex.evaluation.copy_detection import ScoredPairs, precision_recall
from activeindex.evaluation.retrieval import RetrievalResult, attack_name


def search(image_index: int, ids: list[int]) -> RetrievalResult:
    return RetrievalResult.from_search(0, image_index, "blur", 11, np.arange(len(ids)), ids)


def test_the_rank_counts_from_zero() -> None:
    result = search(7, [3, 9, 7, 1])
    assert (result.rank, result.ap) == (2, 1 / 3)
    assert [result.recall_at(n) for n in (1, 10, 100)] == [0, 1, 1]


def test_a_miss_has_rank_k_and_no_recall_even_at_more_than_k() -> None:
    result = search(7, [3, 9, -1, -1])
    assert (result.rank, result.ap) == (4, 1 / 5)
    assert [result.recall_at(n) for n in (1, 10, 100)] == [0, 0, 0]


@given(st.lists(st.integers(-1, 50), min_size=1, max_size=30), st.integers(0, 50))
def test_the_rank_is_the_place_of_the_original(ids: list[int], image_index: int) -> None:
    result = search(image_index, ids)
    if image_index in ids:
        assert result.rank == ids.index(image_index)
    else:
        assert result.rank == len(ids)
    recalls = [result.recall_at(n) for n in (1, 10, 100)]
    assert recalls == sorted(recalls)
    assert recalls[2] == int(image_index in ids)
    assert 0 < result.ap <= 1


def test_a_result_does_not_keep_the_whole_batch() -> None:
    distances, ids = np.zeros((1000, 5), np.float32), np.ones((1000, 5), np.int64)
    result = RetrievalResult.from_search(0, 1, "none", None, distances[3], ids[3])
    assert result.retrieved_distances.base is None
    assert result.retrieved_indices.base is None


def test_distances_and_indices_of_different_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(3\), found \(2\)"):
        RetrievalResult.from_search(0, 1, "none", None, [0.1, 0.2, 0.3], [1, 2])


def test_a_whole_batch_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(k\), found \(1, 2\)"):
        RetrievalResult.from_search(0, 1, "none", None, [[0.1, 0.2]], [[1, 2]])


def test_an_original_that_cannot_be_in_the_index_is_refused() -> None:
    with pytest.raises(InputError, match="image_index"):
        search(-1, [3, -1])


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("auto (crop+blur)", "auto"),
        ("center_crop (skipped center_crop)", "center_crop"),
        ("meme_format", "meme_format"),
    ],
)
def test_details_do_not_belong_to_the_name_of_an_edit(cell: str, name: str) -> None:
    assert attack_name(cell) == name


@given(st.integers(0, 30), st.integers(1, 30))
def test_average_precision_is_that_of_a_ranking_with_one_true_image(rank: int, k: int) -> None:
    """Scikit-learn's and copy detection's; a miss ranks just behind the neighbours asked for."""
    place = min(rank, k)
    ids = [7 if number == place else 100 + number for number in range(k)]
    scores, positive = -np.arange(k + 1.0), np.arange(k + 1) == place
    queries = np.zeros(k + 1, np.int64)
    curve = precision_recall(ScoredPairs(scores, positive, queries, np.array([7])))
    assert search(7, ids).ap == curve.average_precision
    assert search(7, ids).ap == pytest.approx(average_precision_score(positive, scores))
