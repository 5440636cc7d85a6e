"""Each script in examples/ runs as it stands, and prints and writes what it is there to show."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from activeindex.activation.records import read_records
from activeindex.stores.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"

Run = Callable[[str], str]


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples keep the pictures that they share."""
    pytest.importorskip("skimage", reason="needs activeindex[dev]")
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def run(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script in an empty folder and returns what it prints."""
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py"],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def figures(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


def nearer(text: str) -> list[bool]:
    """Whether each image printed is nearer to its target afterwards."""
    pairs = re.findall(r"([\d.]+) -> ([\d.]+)", text)
    return [float(after) < float(before) for before, after in pairs]


def test_every_example_is_tested() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("[0-9]*.py")}
    assert scripts == set(re.findall(r'run\("(\w+)"\)', Path(__file__).read_text()))


def test_01_saves_the_picture_within_its_budget(run: Run, tmp_path: Path) -> None:
    printed = run("01_activate_a_picture")
    assert figures(r"chelsea.png +PSNR ([\d.]+)", printed)[0] >= 42.5
    assert nearer(printed) == [True, True]
    (record,) = read_records(tmp_path / "released" / "activation.jsonl")
    assert record["output"] == "chelsea.png"
    assert (tmp_path / "released" / "chelsea.png").is_file()


def test_02_prints_a_row_for_each_picture(run: Run, tmp_path: Path) -> None:
    printed = run("02_activate_a_folder")
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        assert len(re.findall(rf"{name}.png", printed)) >= 2, "in the table and in the data frame"
        assert (tmp_path / "released" / f"{name}.webp").is_file()
    assert all(nearer(printed))


def test_03_keeps_the_index_in_a_folder(run: Run, tmp_path: Path) -> None:
    printed = run("03_train_an_index")
    assert "trained on 400 features of dimension 256" in printed
    assert "codes of 17 bytes" in printed
    assert {path.name for path in (tmp_path / "index").iterdir()} == {
        "index.faiss",
        "manifest.json",
    }
    assert all(nearer(printed))


def test_04_activates_for_a_network_and_refuses_another(run: Run) -> None:
    printed = run("04_bring_your_own_network")
    assert printed.startswith("colour-layout (")
    assert all(nearer(printed))
    assert "refused: " in printed
    assert "expected features of colour-layout" in printed


def test_05_finds_its_own_id_nearer_after_activation(run: Run) -> None:
    printed = run("05_bring_your_own_index")
    assert "activated: nearest are [42, " in printed
    active, passive = figures(r"at \[([\d.]+)", printed)
    assert active < passive


def test_06_finds_every_copy(run: Run) -> None:
    printed = run("06_find_copies_in_a_store")
    assert "4 pictures in the store" in printed
    matches = re.findall(r"^(\w+?)_(?:center_crop|jpeg|rotation)\.png: (\w+)\.", printed, re.M)
    assert len(matches) == 12
    assert sum(copy == original for copy, original in matches) >= 10
    with Store("faiss:store") as store:
        assert store.count() == 4


def test_07_both_losses_bring_the_picture_nearer(run: Run) -> None:
    printed = run("07_a_new_loss")
    assert re.findall(r"^(\w+):", printed, re.M) == ["cossim", "angle"]
    assert nearer(printed) == [True, True]


def test_08_measures_the_new_edit(run: Run) -> None:
    printed = run("08_a_new_edit")
    passive, active = figures(r"shred +\| +4 \| +([\d.]+)", printed)
    assert active >= passive


def test_09_writes_a_run_for_the_other_commands(run: Run, tmp_path: Path) -> None:
    printed = run("09_evaluate_other_pictures")
    for edit in ("center_crop 0.5", "rotation 25", "blur 11", "jpeg 50"):
        assert f"| {edit} " in printed
    assert (tmp_path / "evaluation" / "retr_df.csv").is_file()


def test_10_prints_recall_for_each_preset_and_budget(run: Run) -> None:
    printed = run("10_compare_budgets")
    assert "passive: R@1 " in printed
    for preset in ("paper", "fast"):
        found = figures(rf"{preset}, ([\d.]+) dB: R@1 [\d.]+", printed)
        assert len(found) == 3
        assert found[2] >= 46
