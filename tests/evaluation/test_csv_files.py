import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.evaluation.copy_detection import DetectionResult
from activeindex.evaluation.csv_files import (
    DETECTION_HEADER,
    PLACES_HEADER,
    RETRIEVAL_HEADER,
    QueryRecord,
    RetrievalColumns,
    format_row,
    read_detection,
    read_places,
    read_retrieval,
)
from activeindex.evaluation.retrieval import RetrievalResult


def written(folder: Path, text: str) -> Path:
    path = folder / "results.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_retrieval_row_is_the_documented_line() -> None:
    row = RetrievalResult.from_search(2, 31, "rotation", 25, [0.1, 1e-8, 3.4e38], [4, 31, -1])
    assert RETRIEVAL_HEADER == (
        "batch,image_index,attack,attack_param,retrieved_distances,retrieved_indices,"
        "rank,r@1,r@10,r@100,ap\n"
    )
    assert format_row(row) == "2,31,rotation,25,[0.1 1e-08 3.4e+38],[4 31 -1],1,0,1,1,0.5\n"


def test_a_detection_row_is_the_documented_line() -> None:
    row = DetectionResult.from_search(0, -1, "auto (crop, blur)", [0.5, 2.0], [4, 5])
    today = "batch,image_index,attack,retrieved_distances,retrieved_ids"
    assert f"{today},attack_param,retrieved_indices\n" == DETECTION_HEADER
    assert format_row(row) == '0,-1,"auto (crop, blur)",[0.5 2.0],[4 5],,[4 5]\n'
    assert format_row(row, f"{today}\n") == '0,-1,"auto (crop, blur)",[0.5 2.0],[4 5]\n'


def test_an_edit_without_parameter_leaves_the_cell_empty() -> None:
    row = RetrievalResult.from_search(0, 1, "none", None, [0.5], [1])
    assert format_row(row).startswith("0,1,none,,[0.5],[1],0,1,1,1,1.0")


def test_arrays_are_written_in_full_and_read_by_a_plain_split() -> None:
    distances = np.random.default_rng(0).random(3000, dtype=np.float32)
    row = DetectionResult.from_search(0, 1, "auto", distances, np.arange(3000))
    cells = next(csv.reader([format_row(row)]))
    assert np.array(cells[3][1:-1].split(), np.float32).tolist() == distances.tolist()
    assert cells[4][1:-1].split() == [str(i) for i in range(3000)]


floats32 = st.floats(width=32, allow_nan=True)
neighbours = st.lists(st.tuples(floats32, st.integers(-1, 2**62)), max_size=12)
names = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20
).filter(lambda name: bool(name.strip()))
anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(neighbours, names, st.none() | st.integers() | st.floats(allow_nan=False))
def test_a_retrieval_reads_back_as_it_was(
    tmp_path: Path, found: list[tuple[float, int]], attack: str, param: float | int | None
) -> None:
    row = RetrievalResult.from_search(
        3, 5, attack, param, [d for d, _ in found], np.array([i for _, i in found], int)
    )
    path = tmp_path / "retr_df.csv"
    path.write_text(RETRIEVAL_HEADER + format_row(row) * 2, encoding="utf-8", newline="")
    for back in read_retrieval(path):
        assert (back.batch, back.image_index, back.attack) == (3, 5, attack)
        assert (back.attack_param, type(back.attack_param)) == (param, type(param))
        np.testing.assert_array_equal(back.retrieved_distances, row.retrieved_distances)
        np.testing.assert_array_equal(back.retrieved_indices, row.retrieved_indices)
        assert back.rank == row.rank
        assert format_row(back) == format_row(row)


@anywhere
@given(neighbours, st.integers(-1, 9))
def test_a_detection_reads_back_as_it_was(
    tmp_path: Path, found: list[tuple[float, int]], image_index: int
) -> None:
    row = DetectionResult.from_search(
        3, image_index, "auto", [d for d, _ in found], np.array([i for _, i in found], int)
    )
    path = tmp_path / "icd_df.csv"
    path.write_text(DETECTION_HEADER + format_row(row), encoding="utf-8", newline="")
    (back,) = read_detection(path)
    assert (back.image_index, back.is_matching) == (image_index, image_index >= 0)
    np.testing.assert_array_equal(back.retrieved_distances, row.retrieved_distances)
    np.testing.assert_array_equal(back.retrieved_ids, row.retrieved_ids)


def test_what_pandas_makes_of_the_file_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ",rank,note,batch,image_index,attack,attack_param,retrieved_distances,retrieved_ids\n"
        '0,1,"a, b",2,31,blur,11.0,"[ 1.00e-01 nan\n  inf ]","[  4\n  31  -1]"\n',
    )
    (row,) = read_retrieval(path)
    assert (row.batch, row.image_index, row.rank, row.attack_param) == (2, 31, 1, 11)
    assert row.retrieved_distances[0] == np.float32(0.1)
    assert np.isnan(row.retrieved_distances[1])
    assert np.isinf(row.retrieved_distances[2])
    assert row.retrieved_indices.tolist() == [4, 31, -1]


def test_attack_param_may_be_missing_or_present(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "batch,image_index,attack,retrieved_distances,retrieved_indices,rank\n"
        "0,1,none,[0.5],[1],0\n",
    )
    assert [row.attack_param for row in read_retrieval(path)] == [None]
    path = written(
        tmp_path,
        "batch,image_index,attack,attack_param,retrieved_distances,retrieved_indices\n"
        "0,-1,auto,,[0.5],[1]\n",
    )
    assert [row.retrieved_ids.tolist() for row in read_detection(path)] == [[1]]


def test_rows_with_more_neighbours_than_the_csv_module_allows_are_read(tmp_path: Path) -> None:
    row = DetectionResult.from_search(0, 1, "auto", np.full(60_000, 0.1), np.arange(60_000))
    path = written(tmp_path, DETECTION_HEADER + format_row(row))
    assert [len(back.retrieved_ids) for back in read_detection(path)] == [60_000]


def test_columns_keep_what_the_tables_need(tmp_path: Path) -> None:
    rows = [
        RetrievalResult.from_search(0, 1, "rotation", 25, [0.1, 0.2], [1, 2]),
        RetrievalResult.from_search(0, 1, "auto (crop)", None, [0.1, 0.2], [2, 3]),
        RetrievalResult.from_search(0, 2, "auto (blur)", None, [0.1, 0.2], [1, 2]),
    ]
    path = written(tmp_path, RETRIEVAL_HEADER + "".join(map(format_row, rows)))
    for columns in (RetrievalColumns.from_rows(rows), RetrievalColumns.read(path)):
        assert columns.edits == (("rotation", 25), ("auto", None))
        assert columns.edit.tolist() == [0, 1, 1]
        assert columns.image_index.tolist() == [1, 1, 2]
        assert columns.rank.tolist() == [0, 2, 1]
        assert columns.neighbours.tolist() == [2, 2, 2]


GOOD = "0,1,blur,11,[0.1 0.2],[1 2],0,1,1,1,1.0\n"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("0,1,blur,11,[0.1 0.2],[1 2],0,1,1\n", "line 3: expected 11 columns, found 9"),
        ("x,1,blur,11,[0.1 0.2],[1 2],0,1,1,1,1\n", "line 3, column batch: .* found 'x'"),
        ("0,-4,blur,11,[0.1 0.2],[1 2],0,1,1,1,1\n", "line 3, column image_index: .* found '-4'"),
        ("0,1,,11,[0.1 0.2],[1 2],0,1,1,1,1\n", "line 3, column attack: expected the name"),
        ("0,1,blur,big,[0.1 0.2],[1 2],0,1,1,1,1\n", "column attack_param: .* found 'big'"),
        ("0,1,blur,11,[0.1 O.2],[1 2],0,1,1,1,1\n", "column retrieved_distances: expected num"),
        ("0,1,blur,11,[0.1 ... 0.2],[1 2],0,1,1,1,1\n", "NumPy left numbers out"),
        ("0,1,blur,11,[0.1 0.2],1 2,0,1,1,1,1\n", "column retrieved_indices: .* found '1 2'"),
        ("0,1,blur,11,[0.1 0.2],[1 2.5],0,1,1,1,1\n", "column retrieved_indices: expected whole"),
        ("0,1,blur,11,[0.1 0.2],[1 2 3],0,1,1,1,1\n", "expected as many .* 2, found 3"),
        ("0,1,blur,11,[0.1 0.2],[1 2],3,1,1,1,1\n", "column rank: expected 0 to 2, found '3'"),
        ('0,1,blur,11,"[0.1 0.2],[1 2],3,1,1,1,1\n', "line 3: expected CSV"),
    ],
)
def test_a_malformed_row_is_named_by_file_line_and_column(
    tmp_path: Path, bad: str, complaint: str
) -> None:
    path = written(tmp_path, RETRIEVAL_HEADER + GOOD + bad)
    with pytest.raises(InputError, match=complaint) as caught:
        list(read_retrieval(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "batch,image_index,attack,rank\n"])
def test_a_missing_column_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="line 1: expected a column"):
        list(read_retrieval(written(tmp_path, text)))


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, found nothing"):
        list(read_detection(tmp_path / "icd_df.csv"))


def test_a_file_that_is_no_text_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "fts.csv"
    path.write_bytes(b"\x93NUMPY\xff\xfe\x00")
    with pytest.raises(InputError, match="expected CSV in UTF-8"):
        list(read_detection(path))


distances = st.none() | st.floats(0, 1e4).map(lambda value: round(value, 5))
places = st.builds(
    QueryRecord,
    test=st.sampled_from(["retrieval", "detection"]),
    image_index=st.integers(-1, 10**9),
    attack=st.sampled_from(["auto (crop+blur; skipped crop)", "rotation"]),
    attack_param=st.none() | st.integers(-90, 90) | st.floats(0, 2),
    cell_kept=st.none() | st.booleans(),
    distance=distances,
    other_distance=distances,
)


@given(rows=st.lists(places, max_size=5))
def test_places_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[QueryRecord]
) -> None:
    path = tmp_path_factory.mktemp("places") / "queries.csv"
    path.write_text(PLACES_HEADER + "".join(row.line() for row in rows))
    assert list(read_places(path)) == rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("search,1,blur,11,1,0.5,0.9", "column test: expected one of retrieval, detection"),
        ("retrieval,-2,blur,11,1,0.5,0.9", "column image_index: expected -1 or more"),
        ("retrieval,1,blur,11,2,0.5,0.9", "column cell_kept: expected 0 to 1"),
        ("retrieval,1,blur,11,1,-0.5,0.9", "column distance: expected a distance"),
        ("retrieval,1,blur", "expected 7 columns, found 3"),
    ],
)
def test_a_bad_place_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "queries.csv"
    path.write_text(f"{PLACES_HEADER}retrieval,1,blur,11,1,0.5,0.9\n{line}\n")
    with pytest.raises(InputError, match=rf"queries\.csv, line 3[:,] {reason}"):
        list(read_places(path))


def test_places_without_a_column_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "queries.csv"
    path.write_text("test,image_index\n")
    with pytest.raises(InputError, match="expected a column attack, found none"):
        list(read_places(path))
