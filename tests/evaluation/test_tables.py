from pathlib import Path

import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import DetectionResult
from activeindex.evaluation.csv_files import DETECTION_HEADER, RETRIEVAL_HEADER, format_row
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.evaluation.tables import PUBLISHED_EDITS, DetectionSummary, RecallRow, RecallTable


def found_at(rank: int, attack: str, param: float | None = None, k: int = 20) -> RetrievalResult:
    ids = np.arange(100, 100 + k)
    if rank < k:
        ids[rank] = 7
    return RetrievalResult.from_search(0, 7, attack, param, np.zeros(k), ids)


def test_recall_is_the_mean_over_the_queries_of_an_edit() -> None:
    rows = [found_at(0, "blur", 11), found_at(3, "blur", 11), found_at(20, "blur", 11)]
    (row,) = RecallTable.from_rows(iter(rows)).rows
    assert (row.label, row.queries) == ("blur 11", 3)
    assert (row.r_at_1, row.r_at_10, row.r_at_100) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert row.mean_ap == pytest.approx((1 + 1 / 4 + 1 / 21) / 3)


def test_the_name_of_an_edit_does_not_reach_a_terminal_raw() -> None:
    (row,) = RecallTable.from_rows([found_at(0, "\x1b[2Jblur", 11)]).rows
    assert row.label == "\\x1b[2Jblur 11"


def test_rows_come_in_order_of_first_appearance_and_details_do_not_split_them() -> None:
    rows = [
        found_at(0, "rotation", 90),
        found_at(0, "auto (crop+blur)"),
        found_at(0, "rotation", 25),
        found_at(20, "auto (jpeg)"),
        found_at(0, "rotation", 90.0),
    ]
    table = RecallTable.from_rows(rows)
    assert [row.label for row in table.rows] == ["rotation 90", "auto", "rotation 25"]
    assert [row.queries for row in table.rows] == [2, 2, 1]
    assert [row.r_at_1 for row in table.rows] == [1.0, 0.5, 1.0]


def test_the_average_counts_each_edit_the_same() -> None:
    rows = [found_at(0, "none"), found_at(0, "none"), found_at(0, "none"), found_at(20, "auto")]
    average = RecallTable.from_rows(rows).average
    assert (average.label, average.queries, average.r_at_1) == ("avg", 4, 0.5)


@pytest.mark.parametrize(
    ("values", "published"),
    [
        ((1, 0.73, 0.38, 0.74, 0.29, 0.63, 0.52, 0.70, 0.08, 0.16, 0.15, 0.75, 0.11, 0.13), 0.46),
        ((1, 1, 0.95, 1, 0.92, 1, 0.97, 0.99, 0.11, 0.55, 0.32, 1, 0.35, 0.32), 0.75),
    ],
)
def test_the_paper_averages_over_its_fourteen_columns(
    values: tuple[float, ...], published: float
) -> None:
    rows = [
        RecallRow(*edit, 1, v, v, v, v) for edit, v in zip(PUBLISHED_EDITS, values, strict=True)
    ]
    screenshot = RecallRow("overlay_onto_screenshot", None, 1, 0, 0, 0, 0)
    table = RecallTable((*rows, screenshot))
    assert round(table.select(PUBLISHED_EDITS).average.r_at_1, 2) == published
    assert table.average.r_at_1 < published - 0.01


def test_a_table_is_read_from_the_file_of_a_run(tmp_path: Path) -> None:
    rows = [found_at(0, "none"), found_at(3, "auto (crop)"), found_at(20, "auto")]
    path = tmp_path / "retr_df.csv"
    path.write_text(RETRIEVAL_HEADER + "".join(map(format_row, rows)))
    assert RecallTable.read(path) == RecallTable.from_rows(rows)


def test_a_file_without_rows_has_no_table(tmp_path: Path) -> None:
    path = tmp_path / "retr_df.csv"
    path.write_text(RETRIEVAL_HEADER)
    with pytest.raises(InputError, match=r"retr_df.csv: expected at least one row, found none"):
        RecallTable.read(path)
    with pytest.raises(InputError, match="expected at least one row"):
        RecallTable.from_rows([])


def test_copy_detection_is_summed_up_from_the_file_of_a_run(tmp_path: Path) -> None:
    rows = [
        DetectionResult.from_search(0, 7, "auto", [0.0, 1.0, 1.5], [7, 8, 9]),  # true, lead 1
        DetectionResult.from_search(0, 8, "auto", [0.0, 0.5, 0.5], [9, 8, 7]),  # false .5, true 0
        DetectionResult.from_search(0, -1, "auto", [0.5, 0.5, 0.5], [9, 8, 7]),  # false, 0 twice
    ]
    path = tmp_path / "icd_df.csv"
    path.write_text(DETECTION_HEADER + "".join(map(format_row, rows)))
    summary = DetectionSummary.read(path, "L2")
    assert (summary.matching, summary.non_matching, summary.pairs) == (2, 1, 6)
    # The first positive at precision 1; the second in the tie at 0, where 2 of 6 are true.
    assert summary.micro_ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 6)
