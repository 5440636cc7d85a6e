from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.evaluation.query_records import PLACES_HEADER, QueryRecord, read_places

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
def test_rows_read_back_as_they_were(
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
def test_a_bad_row_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "queries.csv"
    path.write_text(f"{PLACES_HEADER}retrieval,1,blur,11,1,0.5,0.9\n{line}\n")
    with pytest.raises(InputError, match=rf"queries\.csv, line 3[:,] {reason}"):
        list(read_places(path))


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queries.csv"
    path.write_text("test,image_index\n")
    with pytest.raises(InputError, match="expected a column attack, found none"):
        list(read_places(path))
