"""What a run notes beside its results: where queries landed, and how long its stages took."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from activeindex.cli import run
from activeindex.evaluation.csv_files import read_detection, read_places, read_retrieval
from activeindex.extractors.feature_files import read_features
from tests.cli.collection import EDITS, MATCHED, NON_MATCHING, OTHER_REFERENCES, Prepared


@pytest.mark.parametrize("arm", ["passive", "active"])
def test_every_query_has_its_place(runs: Path, arm: str) -> None:
    places = list(read_places(runs / arm / "queries.csv"))
    for test, rows in (
        ("retrieval", read_retrieval(runs / arm / "retr_df.csv")),
        ("detection", read_detection(runs / arm / "icd_df.csv")),
    ):
        noted = [(p.image_index, p.attack) for p in places if p.test == test]
        assert noted == [(row.image_index, row.attack) for row in rows]
    assert len(places) == len(MATCHED) * (EDITS + 1) + NON_MATCHING


@pytest.mark.parametrize("arm", ["passive", "active"])
def test_distances_are_those_that_the_index_returned(runs: Path, arm: str) -> None:
    """FAISS returns the squared distance of a query to the reconstruction of a code."""
    places = [p for p in read_places(runs / arm / "queries.csv") if p.test == "retrieval"]
    found = 0
    for place, row in zip(places, read_retrieval(runs / arm / "retr_df.csv"), strict=True):
        if row.rank < row.neighbours:
            found += 1
            assert place.distance is not None
            assert place.distance**2 == pytest.approx(row.retrieved_distances[row.rank], abs=1e-3)
            # One list is visited: what was found lies in it.
            assert place.cell_kept
        own = np.flatnonzero(row.retrieved_indices == place.image_index)
        assert len(own) <= 1
    assert found > len(MATCHED)


@pytest.mark.parametrize("arm", ["passive", "active"])
def test_codes_of_mean_features_are_what_is_searched_and_aimed_at(
    prepared: Prepared, runs: Path, tmp_path: Path, arm: str
) -> None:
    """Passive images stay with their own, which are best for them."""
    options = prepared.main_options(
        **{"descriptor_views": 8, "iterations": 1, "eval_icd": False, "active": arm == "active"},
        **{"verbose": 0, "output_dir": tmp_path, "idx_dir": runs / "indexes"},
    )
    assert run(["main", *options]) == 0
    stored = read_features(tmp_path / "originals" / "fts.pt", "fts").values
    own = read_features(runs / "active" / "originals" / "fts.pt", "fts").values
    assert np.array_equal(stored, own) == (arm == "passive")
    if arm == "active":
        index = next((runs / "indexes").glob("*.index"))
        codes = faiss.read_index(str(index)).sa_encode(np.ascontiguousarray(stored))
        records = [json.loads(line) for line in (tmp_path / "activation.jsonl").open()]
        assert [record["code"] for record in records] == [code.tobytes().hex() for code in codes]


def test_edits_of_ones_own_take_the_place_of_the_list(
    prepared: Prepared, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_edits.py").write_text(
        "def negative(image, generator):\n    return image.point(lambda level: 255 - level)\n"
    )
    monkeypatch.chdir(tmp_path)
    options = prepared.main_options(
        **{"active": False, "save_imgs": False, "eval_icd": False, "verbose": 0},
        **{"output_dir": tmp_path / "out", "idx_dir": runs / "indexes"},
    )
    assert run(["main", *options, "--edits", "hflip", "jpeg 50", "own_edits:negative"]) == 0
    with (tmp_path / "out" / "retr_df.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["attack"], row["attack_param"]) for row in rows[:: len(MATCHED)]] == [
        *(("hflip", ""), ("jpeg", "50"), ("negative", "")),
    ]
    noted = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["evaluation"]
    assert noted["edits"] == ["hflip", "jpeg 50", "own_edits:negative"]


def test_unedited_passive_queries_keep_their_cell(runs: Path) -> None:
    places = read_places(runs / "passive" / "queries.csv")
    assert all(place.cell_kept for place in places if place.attack == "none")


def test_queries_without_an_original_have_only_the_distance_to_another(runs: Path) -> None:
    with (runs / "active" / "queries.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image_index"] == "-1"]
    assert len(rows) == NON_MATCHING
    assert {(row["cell_kept"], row["distance"]) for row in rows} == {("", "")}
    assert all(float(row["distance_other"]) > 0.3 for row in rows)
    assert all(int(row["image_index"]) < OTHER_REFERENCES for row in rows)


def times(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "times.jsonl").read_text().splitlines()]


def test_times_name_the_start_and_every_stage(runs: Path) -> None:
    start, *stages = times(runs / "active")
    assert start["command"].startswith("activeindex main --idx_factory IVF4,PQ8x8np ")
    assert {"activeindex", "faiss", "numpy", "python", "torch"} == set(start["versions"])
    items: Counter[str] = Counter()
    for stage in stages:
        assert stage["seconds"] >= 0
        items[stage["stage"]] += stage["items"]
    queries = len(MATCHED) * (EDITS + 1) + NON_MATCHING
    images = dict.fromkeys(("originals", "index", "read", "activate", "save"), len(MATCHED))
    assert items == {**images, "edit and extract": queries, "search": queries}


def test_tensorboard_reads_what_a_run_wrote_for_it(runs: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs activeindex[tensorboard]",
    )
    events = reader.EventAccumulator(str(runs / "board"))
    events.Reload()
    logged = [json.loads(line) for line in (runs / "active/log.jsonl").read_text().splitlines()]
    for name in ("loss", "loss_f", "loss_i", "loss_m"):
        losses = [event.value for event in events.Scalars(f"activation/{name}")]
        assert losses == pytest.approx([line[name] for line in logged])
    assert [event.step for event in events.Scalars("image/psnr")] == list(range(len(MATCHED)))


def test_a_run_goes_on_where_it_was_moved_to_and_however_its_inputs_are_named(
    prepared: Prepared, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "passive", tmp_path / "moved")
    shutil.copytree(runs / "indexes", tmp_path / "indexes")
    monkeypatch.chdir(prepared.root)
    options = prepared.main_options(
        **{"active": False, "save_imgs": False, "verbose": 0},
        **{"output_dir": tmp_path / "moved", "idx_dir": tmp_path / "indexes"},
    )
    here = [str(option).replace(f"{prepared.root}/", "") for option in options]
    assert here != options
    before = (tmp_path / "moved" / "retr_df.csv").stat().st_mtime_ns
    assert run(["main", *here]) == 0
    assert (tmp_path / "moved" / "retr_df.csv").stat().st_mtime_ns == before


def test_other_images_among_the_queries_are_refused(
    prepared: Prepared, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.non_matching, tmp_path / "others")
    first, second = sorted((tmp_path / "others").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    shutil.copytree(runs / "passive", tmp_path / "passive")
    options = prepared.main_options(
        **{"active": False, "save_imgs": False, "query_nonmatch_dir": tmp_path / "others"},
        **{"output_dir": tmp_path / "passive", "idx_dir": runs / "indexes"},
    )
    assert run(["main", *options]) == 2
    assert "holds results of other images in query_nonmatch_dir" in capfd.readouterr().err


def test_a_run_that_evaluates_nothing_releases_its_images(
    prepared: Prepared, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = prepared.main_options(
        **{"iterations": 1, "eval_retrieval": False, "eval_icd": False},
        **{"output_dir": tmp_path / "out", "idx_dir": runs / "indexes"},
    )
    for _ in range(2):
        assert run(["main", *options]) == 0
        assert "PSNR" in capfd.readouterr().out
    assert len(list((tmp_path / "out" / "imgs").iterdir())) == len(MATCHED)
    (tmp_path / "out" / "imgs" / "00002.png").unlink()
    assert run(["main", *options]) == 2
    assert "imgs/00002.png: expected what was written there before" in capfd.readouterr().err
    assert run(["table", str(tmp_path / "out")]) == 0
    assert run(["report", str(tmp_path / "out"), "--output_dir", str(tmp_path / "report")]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kneighbors": 7}, "holds results with kneighbors=20, this command has kneighbors=7"),
        ({"idx_factory": "ivf4,pq8x8"}, "idx_factory 'ivf4,pq8x8': expected a FAISS factory"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(
    prepared: Prepared,
    runs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    shutil.copytree(runs / "passive", tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "originals")
    options = prepared.main_options(
        **{"active": False, "save_imgs": False, "output_dir": tmp_path / "out"},
        **{"idx_dir": runs / "indexes", **changes},
    )
    assert run(["main", *options]) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out" / "originals").exists()


def test_outputs_among_the_images_are_refused(
    prepared: Prepared, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.images, tmp_path / "images")
    options = prepared.main_options(
        data_dir=tmp_path / "images", output_dir=tmp_path / "images" / "out", active=False
    )
    assert run(["main", *options]) == 2
    assert "expected one outside the images' folder" in capfd.readouterr().err


def test_another_query_that_cannot_be_decoded_is_named_before_anything_is_computed(
    prepared: Prepared, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.non_matching, tmp_path / "others")
    bad = sorted((tmp_path / "others").iterdir())[-1]
    bad.write_bytes(bad.read_bytes()[:500])
    options = prepared.main_options(
        **{"query_nonmatch_dir": tmp_path / "others", "output_dir": tmp_path / "out"},
        **{"idx_dir": runs / "indexes", "verbose": 0},
    )
    assert run(["main", *options]) == 2
    assert f"{bad}: the image cannot be decoded" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_outputs_among_the_other_queries_are_refused(
    prepared: Prepared, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.non_matching, tmp_path / "others")
    options = prepared.main_options(
        query_nonmatch_dir=tmp_path / "others", output_dir=tmp_path / "others" / "out"
    )
    assert run(["main", *options]) == 2
    assert "expected one outside the images' folder" in capfd.readouterr().err
