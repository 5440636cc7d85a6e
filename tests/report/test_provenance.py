"""The command that gives a run again, and the latency of its searches."""

import argparse
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from activeindex.activation.settings import ActivationSettings
from activeindex.cli import main
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings
from activeindex.report.provenance import command_of, latency_of, settings_of
from activeindex.report.runs import ReportedRun, read_runs

SETTINGS = ExperimentSettings(
    data_dir=Path("my pictures"),
    output_dir=Path("out"),
    index=IndexSettings(Path("train/fts.pt"), Path("references/fts.pt"), "IVF64,PQ8x8", nprobe=4),
    evaluation=EvaluationSettings(use_attacks_2=True),
    activation=ActivationSettings(scaling=2.0),
    active=False,
    seed=7,
)


def write_run(folder: Path, settings: ExperimentSettings, times: list[object]) -> None:
    folder.mkdir()
    noted = json.loads(json.dumps(asdict(settings), default=str))
    notes = {"settings": noted, "extractor": "sscd_disc_mixup (0) at 288 px", "references": 9}
    (folder / "run.json").write_text(json.dumps(notes))
    (folder / "retr_df.csv").touch()
    (folder / "times.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in times))


def one(folder: Path) -> ReportedRun:
    return read_runs({folder.name: folder})[0]


@pytest.mark.parametrize("copies", [(), (Path("one/fts.pt"), Path("an other/fts.pt"))])
def test_command_is_made_of_the_noted_settings(tmp_path: Path, copies: tuple[Path, ...]) -> None:
    index = replace(SETTINGS.index, fts_edited_path=copies)
    write_run(tmp_path / "run", replace(SETTINGS, index=index), [])
    found = command_of(one(tmp_path / "run"))
    assert found is not None
    words = shlex.split(found[0])
    assert words[:2] == ["activeindex", "main"]
    assert "sscd_disc_mixup" in found[1]
    parser = argparse.ArgumentParser()
    main.add_options(parser)
    options = parser.parse_args(words[2:])
    assert options.data_dir == SETTINGS.data_dir
    assert options.fts_edited_path == list(copies)
    assert (options.nprobe, options.seed, options.scaling) == (4, 7, 2.0)
    assert (options.active, options.use_attacks_2, options.save_imgs) == (False, True, True)
    assert options.format == "png"


def test_command_as_it_was_typed_is_preferred(tmp_path: Path) -> None:
    starts = [{"start": "then", "command": text} for text in ("activeindex main 1", None)]
    write_run(tmp_path / "run", SETTINGS, list(starts))
    assert command_of(one(tmp_path / "run")) == ("activeindex main 1", "as it was typed")


def test_settings_in_which_runs_differ_come_first(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write_run(tmp_path / name, replace(SETTINGS, seed=seed), [])
    lines = settings_of(read_runs({name: tmp_path / name for name in ("a", "b")}))
    assert [line.name for line in lines if line.differs] == ["seed"]
    assert lines[0].values == ("1", "2")
    assert ("index.nprobe", ("4", "4")) in [(line.name, line.values) for line in lines]


def test_latency_is_per_query_whatever_the_batches(tmp_path: Path) -> None:
    searches = [
        {"stage": "search", "items": items, "seconds": seconds}
        for items, seconds in ((100, 0.2), (100, 0.2), (50, 0.4))
    ]
    start = {"start": "then", "threads": {"faiss": 2}}
    write_run(tmp_path / "run", SETTINGS, [start, *searches])
    found = latency_of(one(tmp_path / "run"))
    assert found is not None
    assert (found["nprobe"], found["neighbours"], found["queries"], found["threads"]) == (
        *("nprobe=4", "100"),
        250,
        "2",
    )
    assert found["mean"] == pytest.approx(3.2)
    assert found["median"] == pytest.approx(2.0)
