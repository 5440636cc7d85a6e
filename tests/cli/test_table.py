"""``activeindex table``: finished runs side by side."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Answer

Say = Callable[..., Answer]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def recall(folder: Path, attack: str, param: str) -> float:
    """R@1 computed from the file by hand."""
    with (folder / "retr_df.csv").open(newline="") as file:
        found = [
            row["r@1"] == "1"
            for row in csv.DictReader(file)
            if (row["attack"].split(" (")[0], row["attack_param"]) == (attack, param)
        ]
    return float(np.mean(found))


def test_two_runs_are_shown_with_their_difference(runs: Path, say: Say) -> None:
    answer = say("table", runs / "passive", runs / "active")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert cells(lines[0])[:3] == ["R@1", "passive", "active"]
    rows = {cells(line)[0]: cells(line)[1:] for line in lines[2:19]}
    for label, attack, param in (("contrast 2", "contrast", "2.0"), ("blur 11", "blur", "11")):
        passive, active = (recall(runs / arm, attack, param) for arm in ("passive", "active"))
        assert rows[label] == [f"{passive:.3f}", f"{active:.3f}", f"{active - passive:+.3f}"]
    assert "avg" in rows
    assert "PSNR" in answer.out
    assert [cells(line)[0] for line in lines if "µAP" in line] == ["copy detection"]


def test_runs_can_be_named(runs: Path, say: Say) -> None:
    answer = say("table", f"ours={runs / 'active'}", f"theirs={runs / 'passive'}")
    assert cells(answer.out.splitlines()[0])[:3] == ["R@1", "ours", "theirs"]


def test_folder_with_an_equals_sign_in_its_name_is_read(runs: Path, say: Say) -> None:
    folder = runs / "k=5"
    for given, name in ((folder, "k=5"), (f"five={folder}", "five")):
        answer = say("table", given, runs / "passive")
        assert (answer.code, answer.err) == (0, "")
        assert cells(answer.out.splitlines()[0])[:3] == ["R@1", name, "passive"]


def test_two_runs_of_one_name_are_refused(runs: Path, say: Say) -> None:
    answer = say("table", runs / "passive", runs / "passive")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert "'passive'" in answer.err
    assert "NAME=FOLDER" in answer.err


@pytest.mark.parametrize(
    ("name", "named"),
    [("gone", "expected a folder"), ("empty", "retr_df.csv or icd_df.csv")],
)
def test_folder_without_results_is_refused(say: Say, tmp_path: Path, name: str, named: str) -> None:
    (tmp_path / "empty").mkdir()
    answer = say("table", name)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert name in answer.err
    assert named in answer.err


def test_tables_are_also_written_as_csv(runs: Path, say: Say, tmp_path: Path) -> None:
    say("table", runs / "passive", runs / "active", "--csv", "tables")
    with (tmp_path / "tables" / "recall.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"passive", "active"}
    (blur,) = (row for row in rows if (row["run"], row["attack"]) == ("active", "blur"))
    assert float(blur["r@1"]) == recall(runs / "active", "blur", "11")
    with (tmp_path / "tables" / "detection.csv").open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["passive", "active"]


def test_csv_of_the_released_program_is_read(say: Say, tmp_path: Path) -> None:
    """As pandas writes it: an index column, arrays as NumPy prints them, over several lines."""
    folder = tmp_path / "released"
    folder.mkdir()
    distances = np.linspace(0.25, 1.5, 100, dtype=np.float32)
    ids = np.arange(100) * 7919
    with (folder / "retr_df.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = "batch image_index attack attack_param retrieved_distances retrieved_indices"
        writer.writerow(["", *columns.split(), "rank", "r@1", "r@10", "r@100", "ap"])
        for number, (attack, param, rank) in enumerate(
            [("none", "", 0), ("none", "", 0), ("rotation", "25.0", 3), ("rotation", "25.0", 0)]
        ):
            hits = [int(rank < n) for n in (1, 10, 100)]
            original = int(ids[rank])
            row = [number, 0, original, attack, param, distances, ids, rank, *hits, 1 / (rank + 1)]
            writer.writerow(row)
    assert "\n" in str(distances)
    answer = say("table", folder)
    assert (answer.code, answer.err) == (0, "")
    rows = {cells(line)[0]: cells(line)[1:] for line in answer.out.splitlines()}
    assert rows["none"] == ["2", "1.000", "1.000", "1.000", "1.000"]
    assert rows["rotation 25"] == ["2", "0.500", "1.000", "1.000", "0.625"]
