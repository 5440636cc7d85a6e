"""``export --isc`` and ``evaluate --isc``: a run's copy detection in the challenge's formats."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Answer

ROWS = """\
batch,image_index,attack,retrieved_distances,retrieved_ids
0,7,auto,[0.1 0.4 0.9],[7 3 2]
0,8,auto,[0.2 0.3 3.4e38],[4 8 -1]
0,-1,auto,[0.5 0.8 0.9],[1 2 3]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "icd_df.csv").write_text(ROWS)
    return tmp_path


def test_a_run_is_exported_and_evaluated(folder: Path, say: Callable[..., Answer]) -> None:
    out, truth = folder / "out.csv", folder / "gt.csv"
    answer = say("export", "--isc", folder / "run", out, "--truth", truth)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{out}: 8 predictions\n"
    assert truth.read_text() == "query_id,reference_id\nQ00000,R000007\nQ00001,R000008\nQ00002,\n"
    assert out.read_text().splitlines()[1].startswith("Q00000,R000007,-0.1")
    answer = say("evaluate", "--isc", truth, out, "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    # First of all, and third behind a wrong one: (1/1 + 2/3) / 2.
    assert found["micro_ap"] == pytest.approx(5 / 6)
    assert (found["recall_at_1"], found["recall_at_10"]) == (0.5, 1.0)
    answer = say("evaluate", "--isc", truth, out)
    assert "µAP           0.8333" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--isc", "gt.csv", "none.csv"), "gt.csv: expected a file, found nothing"),
        (("evaluate", "run", "run"), "originals run: expected images"),
        (("export", "--isc", "none", "out.csv"), "none: expected a file, found nothing"),
        (("export", "run", "out.csv"), "the following arguments are required: --isc"),
    ],
)
def test_bad_input_is_told_on_one_line(
    folder: Path,
    say: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    answer = say(*arguments)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert message in answer.err
