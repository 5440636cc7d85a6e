"""``activeindex compare``: paired differences in the terminal."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Answer

Say = Callable[..., Answer]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def hits(folder: Path) -> dict[tuple[str, str, str], int]:
    with (folder / "retr_df.csv").open(newline="") as file:
        return {
            (row["attack"].split(" (")[0], row["attack_param"], row["image_index"]): int(row["r@1"])
            for row in csv.DictReader(file)
        }


def test_differences_are_paired_and_tested(runs: Path, say: Say) -> None:
    answer = say("compare", runs / "passive", runs / "active")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert cells(lines[0]) == [
        *("R@1", "n", "passive", "active", "diff.", "95 % CI", "lost:won", "p (Holm)"),
    ]
    rows = {cells(line)[0]: cells(line) for line in lines if line.startswith("| ")}
    passive, active = hits(runs / "passive"), hits(runs / "active")
    ours = [key for key in passive if key[:2] == ("contrast", "2.0")]
    only_passive = sum(passive[key] > active[key] for key in ours)
    only_active = sum(active[key] > passive[key] for key in ours)
    assert rows["contrast 2"][1] == str(len(ours))
    assert rows["contrast 2"][6] == f"{only_passive}:{only_active}"
    assert "avg" in rows
    assert "µAP" in rows
    assert "McNemar" in answer.out


def test_run_against_itself_shows_no_difference(runs: Path, say: Say) -> None:
    same = runs / "active"
    answer = say("compare", f"a={same}", f"b={same}")
    average = next(cells(line) for line in answer.out.splitlines() if line.startswith("| avg"))
    assert average[4:6] == ["+0.000", "+0.00 +0.00"]
    assert average[7] == "1.000"


def test_runs_without_copy_detection_are_compared_by_retrieval(runs: Path, say: Say) -> None:
    answer = say("compare", runs / "k=5", runs / "active")
    assert answer.code == 0
    assert "µAP |" not in answer.out


def test_csv_of_the_released_program_is_compared(say: Say, tmp_path: Path) -> None:
    for name, ranks in (("before", (3, 3, 3, 0)), ("after", (0, 0, 0, 0))):
        (tmp_path / name).mkdir()
        rows = [
            f"{i},0,{i},blur,11,[0.1 0.2 0.3 0.4],[{' '.join(map(str, ids(i, rank)))}],{rank}\n"
            for i, rank in enumerate(ranks)
        ]
        head = ",batch,image_index,attack,attack_param,retrieved_distances,retrieved_ids,rank\n"
        (tmp_path / name / "retr_df.csv").write_text(head + "".join(rows))
    answer = say("compare", "before", "after")
    assert answer.code == 0
    row = next(cells(line) for line in answer.out.splitlines() if line.startswith("| blur 11"))
    assert row[1:5] == ["4", "0.250", "1.000", "+0.750"]
    assert row[6:] == ["0:3", "0.250"]


def ids(image: int, rank: int) -> list[int]:
    found = [100, 101, 102, 103]
    found[rank] = image
    return found


@pytest.mark.parametrize("arguments", [["gone", "gone"], ["one"]])
def test_missing_run_is_refused_in_a_line(say: Say, arguments: list[str]) -> None:
    answer = say("compare", *arguments)
    assert answer.code == 2
    assert "Traceback" not in answer.err
