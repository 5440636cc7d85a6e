"""Several codes for one image."""

import numpy as np
import pytest

from activeindex.errors import InputError, ShapeError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.check import check_store
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import batch
from tests.stores.test_store import Make

VIEWS = features(40, 2 * 64, seed=5).reshape(40, 2, 64)


def test_an_image_is_found_by_each_of_its_codes_and_once(make: Make) -> None:
    images = batch(40)
    with make() as store:
        ids = store.add(images, view_features=VIEWS).ids
        assert (store.count(), store.codes()) == (40, 120)
        for query in (images.features[7], VIEWS[7, 0], VIEWS[7, 1]):
            found = store.search_features(query[None], 40)
            assert found.ids[0, 0] == ids[7]
            assert sorted(found.ids[0]) == ids
        assert [record.id for record in store.get(ids)] == ids
        assert store.search_features(VIEWS[9, :1], 1, where="name = 'image-0007.jpg'").ids == ids[7]
    with make() as store:
        assert store.remove([ids[7]]) == 1
        store.update(ids[8], disabled_until=9e9)
        for query in (VIEWS[7, 1], VIEWS[8, 1]):
            found = store.search_features(query[None], 40).ids[0]
            assert not {ids[7], ids[8]} & {*found.tolist()}
        store.compact()
        assert (store.count(), store.codes()) == (39, 117)
        address = repr(store).split("'")[1]
    assert list(check_store(address, full=True)) == []


def test_an_addition_that_was_killed_between_codes_is_taken_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make() as store:
        store.add(batch(10, prefix="before"), view_features=VIEWS[:10, :1])
    with monkeypatch.context() as patched:
        patched.setattr("activeindex.stores.store.of_views", lambda *given: 1 / 0)
        store = make()
        with pytest.raises(ZeroDivisionError):
            store.add(batch(40), view_features=VIEWS)
        patched.undo()
        assert store.add(batch(1, prefix="next")).count == 1  # The same process goes on.
        assert store.count() == 11
    with make() as store:
        added = store.add(batch(40), view_features=VIEWS)
        assert (added.count, store.count(), store.codes()) == (40, 51, 51 + 10 + 80)


def test_a_migration_codes_views_anew(make: Make, renewed: TrainedIndex) -> None:
    with make() as store:
        ids = store.add(batch(40), view_features=VIEWS).ids
        store.renew(renewed)
        later = store.add(batch(5, prefix="later"), view_features=VIEWS[:5, :1] + 1).ids
        store.migrate(force=True)
        assert len(store.generations) == 1
        assert (store.count(), store.codes()) == (45, 45 + 45 + 40)
        assert store.search_features(VIEWS[7, 1:], 1).ids == ids[7]
        assert store.search_features(VIEWS[3, :1] + 1, 1).ids == later[3]
        address = repr(store).split("'")[1]
    assert list(check_store(address, full=True)) == []
    with Store(address) as store:
        assert store.codes() == 130


def test_views_of_another_shape_are_refused(make: Make) -> None:
    with make() as store:
        with pytest.raises(ShapeError):
            store.add(batch(3), view_features=VIEWS)
        with pytest.raises(InputError, match="view_features: expected finite values"):
            store.add(batch(3), view_features=np.full((3, 1, 64), np.nan))
        assert store.codes() == 0
