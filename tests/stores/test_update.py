"""Changing tags, metadata and the time until which an image is disabled."""

import time

import pytest

from activeindex.errors import InputError
from activeindex.stores.check import check_store
from tests.stores.conftest import batch
from tests.stores.test_store import Make


def test_an_update_is_seen_by_the_next_search_of_another_open_store(make: Make) -> None:
    images = batch(40)
    with make() as writer:
        ids = writer.add(images, tags=[["old"]] * 40, thumbnails=[b"small"] * 40).ids
        query = images.features[7:8]
        with make() as reader:
            assert reader.search_features(query, 1).ids.tolist() == [[ids[7]]]
            until = time.time() + 100
            record = writer.update(ids[7], tags=["a'b", "ö"], disabled_until=until)
            assert (record.tags, record.disabled_until) == (["a'b", "ö"], until)
            assert ids[7] not in reader.search_features(query, 5).ids
            writer.update(ids[7], disabled_until=None, metadata={"rights": None})
            assert reader.search_features(query, 1).ids.tolist() == [[ids[7]]]
            assert reader.get([ids[7]])[0].metadata == {"rights": None}
            assert reader.get([ids[7]])[0].tags == ["a'b", "ö"]
            assert reader.select("'old' IN tags").tolist() == [i for i in ids if i != ids[7]]
            assert reader.thumbnail(ids[7]) == b"small"
            assert reader.count() == 40
        address = repr(writer).split("'")[1]
    assert list(check_store(address, full=True)) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tags": "word"}, "tags: expected a list"),
        ({"tags": [1]}, "tags: expected a list of words"),
        ({"metadata": {"a": float("nan")}}, "metadata: expected values as JSON has them"),
        ({"disabled_until": "tomorrow"}, "disabled_until: expected seconds since 1970"),
        ({"name": "other"}, "update: expected tags, metadata, disabled_until, found name"),
    ],
)
def test_other_values_are_refused_and_nothing_changes(
    make: Make, changes: dict[str, object], named: str
) -> None:
    with make() as store:
        [number] = store.add(batch(1), tags=[["kept"]]).ids
        with pytest.raises(InputError, match=named):
            store.update(number, **changes)
        with pytest.raises(InputError, match="found 99"):
            store.update(99, tags=[])
        assert store.get([number])[0].tags == ["kept"]
