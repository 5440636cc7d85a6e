import csv
import subprocess
import sys
from pathlib import Path

import pytest

from activeindex.errors import InputError
from activeindex.evaluation.rendering import (
    detection_comparison,
    plain_text,
    recall_text,
    write_detection,
    write_recall,
)
from activeindex.evaluation.tables import PUBLISHED_EDITS, DetectionSummary, RecallRow, RecallTable


def table(**recalls: float) -> RecallTable:
    return RecallTable(tuple(RecallRow(name, None, 10, v, v, v, v) for name, v in recalls.items()))


def full_table(recall: float) -> RecallTable:
    edits = (*PUBLISHED_EDITS, ("overlay_onto_screenshot", None))
    return RecallTable(tuple(RecallRow(*edit, 10_000, *[recall] * 4) for edit in edits))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def test_passive_and_active_stand_side_by_side_with_their_difference() -> None:
    runs = {"passive": table(none=1.0, auto=0.125), "active": table(none=1.0, auto=0.375)}
    lines = cells(recall_text(runs, ["R@1"]))
    assert lines[0] == ["R@1", "passive", "active", "active - passive"]
    assert lines[2:] == [
        ["none", "1.000", "1.000", "+0.000"],
        ["auto", "0.125", "0.375", "+0.250"],
        ["avg", "0.562", "0.688", "+0.125"],
    ]


def test_one_run_shows_all_measures() -> None:
    lines = cells(
        recall_text({"passive": RecallTable((RecallRow("hue", 0.2, 9, 0.1, 0.2, 0.3, 0.15),))})
    )
    assert lines[0] == ["edit", "queries", "R@1", "R@10", "R@100", "mAP"]
    assert lines[2] == ["hue 0.2", "9", "0.100", "0.200", "0.300", "0.150"]


def test_averages_of_runs_with_different_edits_are_over_the_common_ones() -> None:
    runs = {"old": table(none=1.0, blur=0.5), "new": table(none=1.0, auto=0.25)}
    lines = cells(recall_text(runs, ["R@1"]))
    assert lines[2:] == [
        ["none", "1.000", "1.000", "+0.000"],
        ["blur", "0.500", "-", "-"],
        ["auto", "-", "0.250", "-"],
        ["avg of 1 shared", "1.000", "1.000", "+0.000"],
    ]


def test_runs_with_more_edits_than_the_paper_show_its_average_too() -> None:
    lines = cells(recall_text({"passive": full_table(0.5)}))
    assert [line[0] for line in lines[-2:]] == ["avg", "avg of the paper's 14"]
    assert len(lines) == 2 + 15 + 2


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_text_is_plain_and_at_most_100_wide_however_many_runs(count: int) -> None:
    runs = {f"/scratch/experiments/run number {i} of many": full_table(0.5) for i in range(count)}
    text = recall_text(runs)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert text.isascii()
    assert text.count("0.500") == 17 * count * 4


def test_names_are_not_taken_for_markup() -> None:
    lines = cells(recall_text({"[old]": table(none=1.0), "[bold]x": table(none=1.0)}, ["R@1"]))
    assert lines[0][1:3] == ["[old]", "[bold]x"]


def test_no_run_is_refused() -> None:
    with pytest.raises(InputError, match="expected at least one"):
        recall_text({}, ["R@1"])


def test_copy_detection_of_two_runs() -> None:
    runs = {
        "passive": DetectionSummary(0.1284, 10_000, 40_000, 4_950_000),
        "no matches": DetectionSummary(float("nan"), 0, 5, 20),
    }
    lines = cells(plain_text(detection_comparison(runs)))
    assert lines[0] == ["copy detection", "µAP", "matching", "non-matching", "pairs"]
    assert lines[2] == ["passive", "0.128", "10,000", "40,000", "4,950,000"]
    assert lines[3] == ["no matches", "-", "0", "5", "20"]


def test_recall_is_written_as_csv_in_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "tables" / "recall.csv"
    write_recall(path, {"a, b": RecallTable((RecallRow("blur", 11, 3, 1 / 3, 0.5, 1.0, 0.4),))})
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["run", "attack", "attack_param", "queries", "r@1", "r@10", "r@100", "map"],
        ["a, b", "blur", "11", "3", "0.3333333333333333", "0.5", "1.0", "0.4"],
        ["a, b", "avg", "", "3", "0.3333333333333333", "0.5", "1.0", "0.4"],
    ]


def test_copy_detection_is_written_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "icd.csv"
    write_detection(path, {"active": DetectionSummary(0.25, 1, 2, 30)})
    assert path.read_text() == "run,micro_ap,matching,non_matching,pairs\nactive,0.25,1,2,30\n"


def test_importing_the_evaluation_loads_neither_rich_nor_torch() -> None:
    code = "import sys, activeindex.evaluation; print({'rich', 'torch', 'faiss'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
