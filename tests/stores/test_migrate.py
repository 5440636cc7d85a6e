"""Coding a store anew under another index."""

from pathlib import Path

import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.check import check_store
from activeindex.stores.migrate import Migration
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import batch
from tests.stores.test_store import Make


def _filled(store: Store, renewed: TrainedIndex) -> tuple[np.ndarray, np.ndarray]:
    """Images in two generations, with ids that interleave; returns features, and released ones."""
    images, released = batch(60), features(60, 64, seed=5)
    store.add(batch(30), released_features=released[:30], tags=[["kept"]] * 30)
    store.renew(renewed)
    store.add(batch(20, seed=8, prefix="later"))
    old = store.generations[0].trained
    some = range(30, 60)
    store.add(images.features[some], images.names[30:], released_features=released[30:], index=old)
    return images.features, released


def test_migrated_images_have_the_code_of_what_was_released(
    make: Make, renewed: TrainedIndex
) -> None:
    with make() as store:
        _, released = _filled(store, renewed)
        before = store.get(np.arange(80))
        assert store.migrate(force=True) == Migration(60)
        assert store.migrate(force=True) == Migration(0)  # As after a kill.
        (generation,) = store.generations
        assert generation.identity == renewed.identity
        after = store.get(np.arange(80))
        assert [r.name for r in after] == [r.name for r in before]
        assert after[0].tags == ["kept"]
        codes = renewed.quantiser.encode(released)
        for number, record in enumerate(after):
            if 30 <= number < 50:  # Of the index's own generation.
                assert record.code == before[number].code
            else:
                assert record.code == codes[number - (20 if number >= 50 else 0)].tobytes()
        assert store.search_features(released[:5], 1).ids[:, 0].tolist() == [0, 1, 2, 3, 4]
        address = repr(store).split("'")[1]
    assert list(check_store(address, full=True)) == []
    with make() as store:
        assert store.count() == 80
        assert store.add(batch(1, prefix="new")).ids == [80]


def test_another_open_store_goes_on_with_the_migrated_one(
    make: Make, renewed: TrainedIndex
) -> None:
    with make() as store, make() as reader:
        _, released = _filled(store, renewed)
        assert reader.count() == 80
        store.migrate(force=True)
        assert reader.search_features(released[:1], 1).ids.tolist() == [[0]]
        assert len(reader.generations) == 1


@pytest.mark.parametrize("stage", ["_merged", "_write_note", "_remove_unnamed"])
def test_a_killed_migration_leaves_the_old_store_or_the_new_one(
    make: Make, renewed: TrainedIndex, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*given: object, **named: object) -> None:
        raise Killed

    with make() as store:
        _filled(store, renewed)
    with monkeypatch.context() as patched:
        store = make()
        if stage == "_merged":
            patched.setattr("activeindex.stores.migrate._merged", killed)
        else:
            patched.setattr(Store, stage, killed)
        if stage != "_remove_unnamed":  # A kill cleans nothing up.
            patched.setattr(Store, "_remove_unnamed", lambda self: None)
        with pytest.raises(Killed):
            store.migrate(force=True)
        del store
    with make() as store:
        assert store.count() == 80
        assert len(store.generations) == (1 if stage == "_remove_unnamed" else 2)
        folder = store.generations[0].folder.parent
        assert len(list(folder.glob("generation-*"))) == len(store.generations)
        store.migrate(force=True)
        assert len(store.generations) == 1
        assert store.count() == 80


def test_a_migration_that_would_lose_pictures_is_refused_and_changes_nothing(
    make: Make, renewed: TrainedIndex, tmp_path: Path
) -> None:
    with make() as store:
        record = {"name": "a.png", "psnr": 40.0, "output": "a.png", "linf": 4}
        store.add(features(1, 64), ["a.png"], activation={"a.png": record})
        with pytest.raises(InputError, match="expected the released file of a"):
            store.migrate(renewed)
        with pytest.raises(InputError, match="expected the released file of a"):
            store.migrate(renewed, tmp_path)
        [generation] = store.generations
        assert [*generation.folder.parent.glob("generation-*")] == [generation.folder]
        store.renew(renewed)
        store.add(features(1, 64), ["a.png"])
        with pytest.raises(InputError, match=r"a\.png: expected one image of this name"):
            store.migrate(force=True)
        assert store.count() == 2
