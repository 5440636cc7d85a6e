"""What figures say of runs whose numbers are known."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activeindex.evaluation.copy_detection import DetectionResult
from activeindex.evaluation.csv_files import (
    DETECTION_HEADER,
    PLACES_HEADER,
    RETRIEVAL_HEADER,
    QueryRecord,
    format_row,
)
from activeindex.evaluation.published import matching_published
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.identity import ExtractorIdentity
from activeindex.report.figures import queries
from activeindex.report.runs import ReportedRun, read_runs
from activeindex.report.tables import recall_latex, recall_table

IMAGES, REFERENCES, NEIGHBOURS = 16, 100, 10
SSCD = ExtractorIdentity("sscd_disc_mixup", "86386042eb85" + 52 * "0", 288)


def write_run(
    folder: Path, found: dict[tuple[str, float | None], int], index: str = "IVF64,PQ8x8"
) -> None:
    """A passive run that finds the first so many images first under each edit."""
    folder.mkdir()
    rows, places = [RETRIEVAL_HEADER], [PLACES_HEADER]
    for (attack, param), hits in found.items():
        for number in range(IMAGES):
            ids = np.arange(NEIGHBOURS)
            ids[0 if number < hits else 3] = REFERENCES + number
            distances = np.linspace(0.25, 1.44, NEIGHBOURS)
            row = RetrievalResult.from_search(0, REFERENCES + number, attack, param, distances, ids)
            rows.append(format_row(row))
            kept = number < hits
            place = QueryRecord("retrieval", row.image_index, attack, param, kept, 0.5, 1.25)
            places.append(place.line())
    copies = [DETECTION_HEADER]
    for query in range(2 * IMAGES):
        original = REFERENCES + query if query < IMAGES else -1
        ids = np.arange(NEIGHBOURS)
        ids[0] = original if query < IMAGES else 0
        distances = np.r_[0.1 if query < IMAGES else 0.9, np.linspace(1, 2, NEIGHBOURS - 1)]
        copies.append(format_row(DetectionResult.from_search(0, original, "auto", distances, ids)))
    (folder / "retr_df.csv").write_text("".join(rows))
    (folder / "icd_df.csv").write_text("".join(copies))
    (folder / "queries.csv").write_text("".join(places))
    settings = {"active": False, "index": {"idx_factory": index, "nprobe": 1, "quant": "L2"}}
    notes = {
        "settings": settings,
        "extractor": SSCD.as_json(),
        "references": REFERENCES,
        "images": IMAGES,
    }
    (folder / "run.json").write_text(json.dumps(notes))


@pytest.fixture
def run(tmp_path: Path) -> Sequence[ReportedRun]:
    found: dict[tuple[str, float | None], int] = {("none", None): 16, ("auto", None): 4}
    found |= {("rotation", float(angle)): 16 - abs(angle) // 10 for angle in range(-90, 91, 30)}
    write_run(tmp_path / "one", found)
    return read_runs({"one": tmp_path / "one"})


def test_recall_and_its_interval_are_drawn(run: Sequence[ReportedRun]) -> None:
    drawn = str(queries.recall_figure(run).charts[0][1])
    assert "one, auto: 0.250 (0.102 to 0.495)" in drawn  # Wilson, 4 of 16
    assert "one, none: 1.000" in drawn


def test_parameters_with_several_values_get_a_chart(run: Sequence[ReportedRun]) -> None:
    figure = queries.parameter_figure(run)
    assert [heading for heading, _ in figure.charts] == ["rotation"]
    assert "one: 0.438 at -90" in str(figure.charts[0][1])  # 7 of 16


def test_ranks_are_counted_from_one(run: Sequence[ReportedRun]) -> None:
    drawn = str(queries.rank_figure(run).charts[0][1])
    first = (16 + 4 + 7 + 10 + 13 + 16 + 13 + 10 + 7) / (9 * 16)
    assert f"one, 1: {first:.3f}" in drawn
    assert f"one, 2–5: {1 - first:.3f}" in drawn
    assert "one, missed: 0.000" in drawn


def test_perfect_copy_detection_has_the_area_one(run: Sequence[ReportedRun]) -> None:
    assert "one µAP 1.000" in queries.precision_recall_figure(run).caption


def test_cells_and_distances_are_those_noted(run: Sequence[ReportedRun]) -> None:
    assert "one, auto: 0.250" in str(queries.cell_figure(run).charts[0][1])
    heading = queries.distance_figure(run).charts[0][0]
    assert heading == "one: mean unedited 0.500 · edited 0.500 · not matching 1.250"


def test_without_queries_csv_distances_are_those_of_the_results(
    run: Sequence[ReportedRun], tmp_path: Path
) -> None:
    (tmp_path / "one" / "queries.csv").unlink()
    (again,) = read_runs({"one": tmp_path / "one"})
    figure = queries.distance_figure([again])
    # FAISS's 0.25 is a squared distance.
    assert figure.charts[0][0].startswith("one: mean unedited 0.500")
    assert "without queries.csv" in figure.caption
    assert "needs queries.csv" in (queries.cell_figure([again]).missing or "")


@pytest.mark.parametrize(
    ("factory", "extractor", "nprobe", "average"),
    [
        ("IVF4096,PQ8x8", SSCD, 1, 0.46),
        ("IVF1024,Flat", SSCD, 1, 0.66),
        ("PCA64,LSH", SSCD, 1, 0.78),
        ("OPQ8_64,PQ8x8", SSCD, 1, 0.92),
        ("IVF4096,PQ8x8", SSCD, 8, None),
        ("IVF4096,PQ8x8", replace(SSCD, name="dino_vits"), 1, None),
        ("IVF4096,PQ8x8", replace(SSCD, input_size=64), 1, None),
        ("IVF4096,PQ8x8", replace(SSCD, whitening=64 * "1"), 1, None),
        ("IVF4096,PQ8x8", replace(SSCD, name="sscd_disc_mixup.torchscript.pt"), 1, 0.46),
        ("OPQ8_64,IVF64,PQ8x8", SSCD, 1, None),
        (None, None, None, None),
    ],
)
def test_published_figures_stand_beside_their_own_setting_only(
    factory: str | None,
    extractor: ExtractorIdentity | None,
    nprobe: int | None,
    average: float | None,
) -> None:
    found = matching_published(factory, extractor, nprobe, "passive")
    assert (found and found.average) == average


def test_published_line_follows_its_run_in_the_table(tmp_path: Path) -> None:
    for name, factory in (("a_1", "IVF64,PQ8x8"), ("b", "IVF4096,PQ8x8")):
        write_run(tmp_path / name, {("none", None): 16, ("contrast", 0.5): 8}, factory)
    table = recall_table(read_runs({name: tmp_path / name for name in ("a_1", "b")}))
    assert table is not None
    assert table.columns == ("none", "contrast 0.5", "avg")
    assert [row.name for row in table.rows] == ["a_1", "b", "published"]
    # Their average is over 14 edits.
    assert [cell.value for cell in table.rows[2].cells] == [1, 0.73, None]
    lines = recall_latex(table, "100 %").splitlines()
    assert r"a\_1 & 1.00 & .50 & .75 \\" in lines
    assert r"\emph{published} & 1.00 & .73 & -- \\" in lines
    assert r"\caption{100 \%}" in lines
