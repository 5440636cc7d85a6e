"""What schema 2 of a store holds, and how stores of schema 1 come to it."""

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activeindex.decisions.calibration import CALIBRATION_FILE
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.indexing.artefact import TrainedIndex, load_or_train
from activeindex.stores.check import check_store
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import ENGINES, EXTRACTOR, batch, queries, training
from tests.stores.test_store import DINO, Make

V0_1 = Path(__file__).parents[1] / "fixtures" / "v0_1"


def test_images_have_a_released_feature_a_second_one_a_thumbnail_tags_and_metadata(
    make: Make,
) -> None:
    released, second = features(3, 64, 5), ImageFeatures(features(3, 32, 6), extractor=DINO)
    with make() as store:
        store.add(batch(2, prefix="without"))
        ids = store.add(
            batch(3),
            released_features=released,
            second_features=second,
            thumbnails=[b"small", None, b""],
            tags=[["summer", "sea"], None, []],
            metadata=[{"rights": {"holder": "ö"}}, None, {}],
        ).ids
    with make() as store:
        store.compact()
        [generation] = store.generations
        values = generation.values("released_feature", np.array([0, *ids]))
        assert values == [None, *(row.tobytes() for row in released)]
        values = generation.values("second_feature", np.array(ids))
        assert values == [row.tobytes() for row in second.values]
        assert generation.values("thumbnail", np.array(ids)) == [b"small", None, b""]
        records = store.get(ids)
        assert [list(record.tags) for record in records] == [["summer", "sea"], [], []]
        assert [r.metadata for r in records] == [{"rights": {"holder": "ö"}}, None, {}]
        assert store.get([0])[0].metadata is None
        other = ImageFeatures(second.values, extractor=EXTRACTOR)
        with pytest.raises(InputError, match=r"expected features of dino .*, found those of sscd"):
            store.add(batch(3, prefix="other"), second_features=other)
        with pytest.raises(ShapeError, match="features"):
            store.add(batch(3, prefix="other"), released_features=features(3, 32))
        with pytest.raises(ShapeError, match="tags"):
            store.add(batch(3, prefix="other"), tags=[["a"]])
        assert store.count() == 5


def test_a_disabled_image_is_not_found_until_its_time_is_over(make: Make) -> None:

    until = [time.time() + 3600, time.time() - 3600, None]
    images = replace(batch(3), more={"disabled_until": until})
    with make() as store:
        store.add(images)
        for refine in (0, 2):
            found = store.search_features(images.features, 3, nprobe=16, refine=refine)
            assert [set(row) for row in found.ids.tolist()] == [{1, 2, -1}] * 3
        assert store.count() == 3
        assert store.get([0])[0].disabled_until == until[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_of_schema_1_is_read_added_to_and_upgraded(engine: str, tmp_path: Path) -> None:
    if engine == "lance://":
        pytest.importorskip("lance")
    kind = engine.rstrip(":/")
    shutil.copytree(V0_1 / f"store_{kind}", tmp_path / "s")
    address = f"{engine}{tmp_path / 's'}"
    (tmp_path / "s" / "generation-0001" / CALIBRATION_FILE).write_bytes(b"calibrated")
    with Store(address) as store, Store(address) as reader:
        query = features(4, store.dimension)
        records = store.get(np.arange(10))
        before = store.search_features(query, 5, nprobe=2)
        values = store.generations[0].features(np.array([0, 1]))
        assert reader.search_features(query, 5, nprobe=2).ids.tolist() == before.ids.tolist()
        assert store.add(query[:1], ["new"]).ids == [6]
        assert store.remove([6]) == 1
        with pytest.raises(InputError, match=r"to be given more .*`activeindex store upgrade "):
            store.add(query[:1], ["new"], tags=[["a"]])
        assert (store.format, store.upgrade(), store.format, store.upgrade()) == (1, 1, 2, 2)
        for each in (store, reader):  # Which was open all the time.
            assert each.get(np.arange(10)) == records
            after = each.search_features(query, 5, nprobe=2)
            assert after.ids.tolist() == before.ids.tolist()
            np.testing.assert_allclose(after.distances, before.distances, rtol=1e-6)
            assert each.generations[0].features(np.array([0, 1])).tolist() == values.tolist()
        assert store.add(query[:1], ["new"], tags=[["a"]]).ids == [7]
    assert list(check_store(address, full=True)) == []
    [folder] = (tmp_path / "s").glob("generation-*")
    assert folder.name == "generation-0002"
    assert (folder / CALIBRATION_FILE).read_bytes() == b"calibrated"


def test_beginning_a_generation_again_after_a_kill_does_nothing(
    make: Make, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    with make() as store:
        store.add(batch(3))
        for _ in range(2):
            store.renew(renewed)
        assert len(store.generations) == 2
        store.add(batch(1, prefix="new"))
        for index in (trained, renewed):
            with pytest.raises(InputError, match="has a generation of"):
                store.renew(index)


def test_a_removal_that_was_killed_between_generations_is_finished_by_the_next_writer(
    make: Make, renewed: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make() as store:
        store.add(batch(10))
        store.renew(renewed)
        store.add(batch(10, prefix="new"))
        with monkeypatch.context() as killed:

            def kill(*given: object) -> int:
                raise KeyboardInterrupt

            killed.setattr(store.generations[1], "remove", kill)
            with pytest.raises(KeyboardInterrupt):
                store.remove([3, 13])
    with make() as store:
        assert store.count() == 18
        assert store.get([3, 13]) == []


def test_removing_costs_no_reload_and_open_readers_notice(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    address = f"faiss:{tmp_path / 's'}"
    with Store.create(address, trained) as store, Store(address) as reader:
        store.add(batch(300))
        for each in (store, reader):
            each.search_features(queries(1))
        codes = [each.generations[0]._codes for each in (store, reader)]  # type: ignore[attr-defined]
        store.remove(range(100, 200))
        store.add(batch(5, prefix="new"))
        store.remove([300, 304])
        expected = {*range(100), *range(200, 300), 301, 302, 303}
        for each, before in zip((store, reader), codes, strict=True):
            found = each.search_features(queries(2), 300, nprobe=16)
            assert all(set(row[row >= 0].tolist()) == expected for row in found.ids)
            assert each.generations[0]._codes is before  # type: ignore[attr-defined]
        store.compact()  # Forgets what was removed; who has not noticed reads all codes again.
        store.remove([0])
        assert 0 not in reader.search_features(queries(1), 300, nprobe=16).ids


@pytest.mark.parametrize("factory", ["PQ8x8np", "Flat", "PCA32,IVF4,PQ8x8np", "IVF4,SQ8"])
def test_codes_are_removed_from_every_kind_of_index(factory: str, tmp_path: Path) -> None:
    index = load_or_train(tmp_path / "q", training(features(800, 64)), factory, "L2")
    with Store.create(f"faiss:{tmp_path / 's'}", index) as store:
        store.add(batch(100))
        store.search_features(queries(1))
        store.remove(range(0, 100, 3))
        found = store.search_features(queries(5), 66, nprobe=4)
        with Store(tmp_path / "s") as fresh:
            again = fresh.search_features(queries(5), 66, nprobe=4)
    assert found.ids.tolist() == again.ids.tolist()
    assert found.distances.tolist() == again.distances.tolist()


def test_threads_search_one_store_while_others_add_and_remove(make: Make) -> None:
    stop, wrong, searches = threading.Event(), list[object](), [0]

    def search(store: Store) -> None:
        try:
            while not stop.is_set():
                found = store.search_features(queries(2), 400, nprobe=16)
                there = set(found.ids[0].tolist()) - {-1}
                if not {*range(40)} <= there:
                    wrong.append(sorted({*range(40)} - there))
                store.get(found.ids[0, :3])
                searches[0] += 1
        except Exception as error:
            wrong.append(error)

    def add(store: Store, prefix: str) -> None:
        try:
            for part in range(3):
                ids = store.add(batch(20, part, f"{prefix}{part}")).ids
                store.remove(ids[:10])
        except Exception as error:
            wrong.append(error)

    with make() as store:
        store.add(batch(40))
        readers = [threading.Thread(target=search, args=(store,)) for _ in range(3)]
        writers = [threading.Thread(target=add, args=(store, name)) for name in "ab"]
        for thread in (*readers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        for thread in readers:
            thread.join()
        assert wrong == []
        assert searches[0] > 0
        assert store.count() == 40 + 2 * 3 * 10


def test_a_store_on_a_read_only_medium_is_searched(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make() as store:
        store.add(batch(10))
        expected = store.search_features(queries(), 3).ids.tolist()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = sorted(tmp_path.rglob("*"))
    with make() as store:
        assert store.search_features(queries(), 3).ids.tolist() == expected
    assert sorted(tmp_path.rglob("*")) == before
