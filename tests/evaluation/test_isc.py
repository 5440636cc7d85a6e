"""Predictions of the Image Similarity Challenge, and its metrics, against plain loops."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.evaluation.isc import (
    MOST_PREDICTIONS,
    Prediction,
    Truth,
    answered,
    evaluate_predictions,
    read_predictions,
    read_truth,
    write_predictions,
    write_truth,
)

QUERIES = [f"Q{number}" for number in range(5)]
REFERENCES = [f"R{number}" for number in range(6)]


def by_hand(rows: list[Prediction], truth: Truth) -> tuple[float, float, float, float]:
    """µAP, R@P90 and recall at ranks 1 and 10, prediction by prediction."""

    def is_right(row: Prediction) -> bool:
        return row.reference_id in truth.get(row.query_id, set())

    ordered = sorted(rows, key=lambda row: (-row.score, is_right(row)))
    pairs = sum(len(references) for references in truth.values())
    area, best, right = 0.0, 0.0, 0
    firsts = {1: 0, 10: 0}
    seen: dict[str, int] = {}
    for number, row in enumerate(ordered, start=1):
        seen[row.query_id] = seen.get(row.query_id, 0) + 1
        if is_right(row):
            right += 1
            area += right / number / pairs
            for rank in firsts:
                firsts[rank] += seen[row.query_id] <= rank
        if right / number >= 0.9:
            best = max(best, right / pairs)
    return area, best, firsts[1] / pairs, firsts[10] / pairs


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(QUERIES), st.sampled_from(REFERENCES)),
        st.sampled_from([0.1, 0.2, 0.2, 0.7, -3.0, 5.0]),
    ),
    st.dictionaries(
        st.sampled_from(QUERIES), st.sets(st.sampled_from(REFERENCES), max_size=3), min_size=1
    ),
)
def test_metrics_are_those_counted_one_by_one(
    scores: dict[tuple[str, str], float], truth: Truth
) -> None:
    rows = [Prediction(*pair, score) for pair, score in scores.items()]
    if not any(truth.values()):
        with pytest.raises(InputError, match="found none"):
            evaluate_predictions(rows, truth)
        return
    result = evaluate_predictions(rows, truth)
    found = (result.micro_ap, result.recall_at_p90, result.recall_at_1, result.recall_at_10)
    assert found == pytest.approx(by_hand(rows, truth))
    assert result.pairs == sum(map(len, truth.values()))


def test_the_threshold_keeps_what_recall_at_p90_counts() -> None:
    truth = {f"Q{number}": {f"R{number}"} for number in range(20)}
    rows = [Prediction(f"Q{n}", f"R{n if n != 12 else 0}", 20.0 - n) for n in range(18)]
    result = evaluate_predictions(rows, truth)
    kept = [row for row in rows if row.score >= (result.threshold_at_p90 or 0.0)]
    right = [row for row in kept if row.query_id[1:] == row.reference_id[1:]]
    assert len(right) / len(kept) >= 0.9
    assert result.recall_at_p90 == len(right) / 20 == 17 / 20
    low, high = result.micro_ap_interval
    assert 0.5 < low < result.micro_ap < high <= 1.0


def test_nothing_predicted_is_worth_nothing() -> None:
    result = evaluate_predictions([], {"Q0": {"R0"}})
    assert (result.micro_ap, result.recall_at_p90, result.threshold_at_p90) == (0.0, 0.0, None)
    assert result.micro_ap_interval == (0.0, 0.0)


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [Prediction(f"Q{n // 3}", f"R{n}", float(generator.normal())) for n in range(30)]
    assert write_predictions(tmp_path / "out.csv", rows) == 30
    assert sorted(read_predictions(tmp_path / "out.csv")) == sorted(rows)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "query_id,reference_id,score"
    scores = [float(line.split(",")[2]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)
    truth: Truth = {"Q0": {"R0", "R1"}, "Q1": set()}
    write_truth(tmp_path / "gt.csv", truth)
    assert read_truth(tmp_path / "gt.csv") == truth


def test_of_too_many_predictions_the_surest_are_written(tmp_path: Path) -> None:
    rows = [Prediction("Q", str(n), float(n)) for n in range(MOST_PREDICTIONS + 2)]
    assert write_predictions(tmp_path / "out.csv", rows) == MOST_PREDICTIONS
    assert (tmp_path / "out.csv").read_text().endswith("\nQ,2,2.0\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Q1,R1,1\nQ2,R2,1\nQ1,R1,2\n", "line 4: expected each pair once, found Q1,R1 again"),
        ("Q1,R1,nan\n", "line 2, column score: expected a finite number, found 'nan'"),
        ("Q1,R1,inf\n", "line 2, column score: expected a finite number, found 'inf'"),
        ("Q1,R1,much\n", "line 2, column score: expected a finite number, found 'much'"),
        ('"Q,1",R1,1\n', "line 2, column query_id: expected a name without a comma"),
        ("Q1,,1\n", "line 2, column reference_id: expected a name without a comma"),
        ("Q1,R1\n", "line 2: expected 3 columns, found 2"),
    ],
)
def test_malformed_predictions_are_named_by_their_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("query_id,reference_id,score\n" + text)
    with pytest.raises(InputError) as refused:
        read_predictions(path)
    assert str(refused.value).startswith(f"{path}, {message}")


def test_more_rows_than_the_challenge_takes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    rows = "".join(f"Q,{number},0\n" for number in range(MOST_PREDICTIONS + 1))
    path.write_text("query_id,reference_id,score\n" + rows)
    with pytest.raises(InputError, match="expected at most 500,000 predictions, found more"):
        read_predictions(path)


def test_names_that_a_row_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected names without a comma, found 'a,b'"):
        write_predictions(tmp_path / "out.csv", [Prediction("a,b", "R", 1.0)])
    with pytest.raises(InputError, match="expected each pair once, found Q,R twice"):
        write_predictions(tmp_path / "out.csv", [Prediction("Q", "R", s) for s in (1.0, 2.0)])
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("distances", "sign"), [((0.1, 0.5), -1.0), ((0.9, 0.2), 1.0)])
def test_answers_become_predictions_whatever_the_metric(
    tmp_path: Path, distances: tuple[float, float], sign: float
) -> None:
    near = [
        {"rank": rank, "distance": distance, "name": f"year/p{rank}.jpg"}
        for rank, distance in enumerate(distances)
    ]
    answers = [{"query": "in/x.png", "neighbours": near}, {"query": "y.png", "unreadable": "no"}]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    assert answered(path) == [
        Prediction("x", f"year/p{rank}", sign * distance) for rank, distance in enumerate(distances)
    ]
    path.write_text('{"query": "x"}\n')
    with pytest.raises(InputError, match="line 1: expected an answer of search"):
        answered(path)
