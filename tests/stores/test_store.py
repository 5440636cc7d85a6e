"""What every store does, whatever its engine."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeindex.errors import ActiveIndexError, InputError, ShapeError
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import TrainedIndex, load_or_train
from activeindex.indexing.search import search, set_nprobe
from activeindex.runtime.locking import only_run
from activeindex.stores.ingest import NewImages
from activeindex.stores.store import Store
from tests.indexing.trained import copy_of, features
from tests.stores.conftest import ENGINES, EXTRACTOR, batch, queries, training

DINO = ExtractorIdentity("dino", "ba9876543210" + 52 * "0", 224)

Make = Callable[[], Store]


@pytest.mark.parametrize("nprobe", [1, 4, 16])
def test_a_store_answers_as_faiss_alone_does(
    make: Make, trained: TrainedIndex, nprobe: int
) -> None:
    images = batch(1000)
    with make() as store:
        for rows in (range(600), range(600, 1000)):
            store.add(images.features[rows], images.names[rows.start : rows.stop])
        found = store.search_features(queries(), 10, nprobe=nprobe)
    index = copy_of(trained.index)
    set_nprobe(index, nprobe)
    index.add(images.features)
    alone = search(index, queries(), 10)
    assert found.ids.tolist() == alone.ids.tolist()
    np.testing.assert_allclose(found.distances, alone.distances, rtol=1e-4)


def test_a_store_visits_as_many_lists_as_an_effort_allows(
    make: Make, renewed: TrainedIndex
) -> None:
    with make() as store:
        store.add(batch(600))

        def ids(**options: Any) -> Any:
            return store.search_features(queries(), 300, **options).ids.tolist()

        assert str(store.visit()) == "16 of 16 lists, 600 codes"
        assert ids() == ids(nprobe=16)
        assert str(store.visit(effort=150)) == "4 of 16 lists, 150 codes"
        assert ids(effort=150) == ids(nprobe=4) != ids()
        assert store.visit(effort=1).nprobe == 1
        assert ids(effort=1) == ids(effort=10_000, nprobe=1)
        assert str(store.visit(nprobe=99)) == "16 of 16 lists, 600 codes"
        store.renew(renewed)  # The effort is for all generations together: 8 lists more.
        store.add(batch(200, prefix="more"))
        assert str(store.visit(effort=200)) == "6 of 24 lists, 200 codes"
        assert str(store.visit()) == "24 of 24 lists, 800 codes"


def test_a_store_keeps_its_answers_when_it_is_compacted_and_opened_again(make: Make) -> None:
    with make() as store:
        for part in range(3):
            store.add(batch(200, part, f"part{part}"))
        store.remove(np.arange(100, 300))
        before = store.search_features(queries(), 10, nprobe=4)
        store.compact()
        after = store.search_features(queries(), 10, nprobe=4)
        assert (store.count(), after.ids.tolist()) == (400, before.ids.tolist())
    with make() as store:
        again = store.search_features(queries(), 10, nprobe=4)
        np.testing.assert_array_equal(again.ids, before.ids)
        np.testing.assert_allclose(again.distances, before.distances, rtol=1e-5)


def test_removed_images_are_not_found_and_their_ids_are_not_given_again(make: Make) -> None:
    with make() as store:
        store.add(batch(50))
        nearest = store.search_features(queries(), 1, nprobe=16).ids.ravel()
        assert store.remove(np.append(nearest, 12345)) == len(set(nearest.tolist()))
        assert not np.isin(store.search_features(queries(), 10, nprobe=16).ids, nearest).any()
        assert store.get(nearest) == []
        store.remove(np.arange(50))
        assert store.count() == 0
        assert (store.search_features(queries(), 3).ids == -1).all()
    with make() as store:
        assert store.add(batch(2, prefix="new")).ids == [50, 51]


def test_records_come_back_as_they_were_added(make: Make, trained: TrainedIndex) -> None:
    images = batch(4)
    with make() as store:
        ids = np.array(store.add(images).ids)
        records = store.get(ids[::-1])
        features = store.generations[0].features(ids[::-1])
    assert [record.id for record in records] == [0, 1, 2, 3]
    assert [record.name for record in records] == list(images.names)
    assert [record.sha256 for record in records] == [f"{0:064x}", None, None, f"{3:064x}"]
    assert records[3].activation == images.activations[images.names[3]]
    assert records[1].activation is None
    codes = trained.quantiser.encode(images.features)
    assert [record.code for record in records] == [code.tobytes() for code in codes]
    assert {record.quantiser for record in records} == {trained.identity}
    np.testing.assert_array_equal(features[::-1], images.features)


def test_names_that_are_there_already_are_left_as_they_are(make: Make) -> None:
    with make() as store:
        first = store.add(batch(30)).ids
        both = store.add(NewImages(["new", "image-0003.jpg"], features(2, 64, 9))).ids
        assert (both, store.count()) == ([30, first[3]], 31)
        assert store.get(both)[0].sha256 == f"{3:064x}"


def test_odd_names_are_names(make: Make) -> None:
    names = ["it's.jpg", 'a"b.jpg', "ünï/コピー.png", "x'); DROP TABLE images; --.jpg", "%_"]
    with make() as store:
        ids = store.add(NewImages(names, features(len(names), 64))).ids
        for name, number in zip(names, ids, strict=True):
            assert store.named([name]).tolist() == [number]
            assert store.get(np.array([number]))[0].name == name


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("psnr >= 45", lambda number: number % 3 == 0 and number % 20 >= 15),
        ("name LIKE 'image-00%'", lambda number: number < 100),
        ("name LIKE 'IMAGE-00%'", lambda number: False),
        ("psnr IS NULL AND id < 10", lambda number: number % 3 != 0 and number < 10),
        (f"sha256 = '{6:064x}'", lambda number: number == 6),
        ("id = 1 OR id = 2", lambda number: number in (1, 2)),
    ],
)
def test_a_filter_lets_through_what_it_says(
    make: Make, where: str, expected: Callable[[int], bool]
) -> None:
    wanted = {number for number in range(300) if expected(number)}
    with make() as store:
        store.add(batch(300))
        assert set(store.select(where).tolist()) == wanted
        found = store.search_features(queries(), 300, nprobe=16, where=where)
        assert all(set(row[row >= 0].tolist()) == wanted for row in found.ids)


@pytest.mark.parametrize(
    ("where", "place"),
    [("psnr >", 7), ("height > 3", 1), ("1; DELETE FROM images", 2), (")", 1), ("id IN (\nx", 9)],
)
def test_a_malformed_filter_is_refused_by_its_text(make: Make, where: str, place: int) -> None:
    with make() as store:
        store.add(batch(20))
        for ask in (store.select, lambda text: store.search_features(queries(), 1, where=text)):
            with pytest.raises(InputError, match=f", column {place}: expected ") as refused:
                ask(where)
            assert repr(where) in str(refused.value)
            assert "\n" not in str(refused.value)
        assert store.count() == 20


def test_refining_orders_by_the_raw_features(make: Make) -> None:
    images = batch(500)
    with make() as store:
        store.add(images)
        refined = store.search_features(queries(), 10, nprobe=16, refine=50)
    exact = ((queries()[:, None] - images.features[None]) ** 2).sum(axis=2)
    order = np.argsort(exact, axis=1, kind="stable")[:, :10]
    assert refined.ids.tolist() == order.tolist()
    np.testing.assert_allclose(
        refined.distances, np.take_along_axis(exact, order, axis=1), rtol=1e-4
    )


def test_images_with_equal_codes_are_ordered_by_id(make: Make) -> None:
    one = features(1, 64)
    names = [f"{number}.jpg" for number in range(8)]
    with make() as store:
        store.add(NewImages(names, np.repeat(one, 8, axis=0)))
        assert store.search_features(one, 5).ids.tolist() == [[0, 1, 2, 3, 4]]


def test_images_are_searched_through_the_quantiser_that_they_were_released_under(
    make: Make, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    old, new = batch(300, 0, "old"), batch(200, 1, "new")
    with make() as store:
        store.add(old)
        store.renew(renewed)
        store.add(new)
        late = batch(100, 2, "late")
        store.add(late, index=trained)
        found = store.search_features(queries(), 600, nprobe=16)
        generations = {record.id: record.quantiser for record in store.get(np.arange(600))}
    assert list(generations.values()) == [
        *[trained.identity] * 300,
        *[renewed.identity] * 200,
        *[trained.identity] * 100,
    ]
    expected = np.concatenate(
        [
            index.quantiser.reconstruct(images.features)
            for index, images in ((trained, old), (renewed, new), (trained, late))
        ]
    )
    distances = ((queries()[:, None] - expected[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(distances, found.ids, axis=1), rtol=1e-3, atol=1e-5
    )
    assert (np.sort(found.ids, axis=1) == np.arange(600)).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    with make() as store:
        assert [g.identity for g in store.generations] == [trained.identity, renewed.identity]
        np.testing.assert_array_equal(
            store.search_features(queries(), 600, nprobe=16).ids, found.ids
        )


def test_another_quantiser_or_extractor_is_refused_with_both_names(
    make: Make, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    with make() as store:
        with pytest.raises(InputError) as refused:
            store.generation_of(renewed)
        assert f"expected the quantiser {trained.identity}, found {renewed.identity}" in str(
            refused.value
        )
        with pytest.raises(InputError, match=r"expected features of sscd .*, found .* of dino"):
            store.check_extractor(DINO)
        with pytest.raises(InputError, match=r"--force goes on nevertheless$"):
            store.check_extractor(DINO, 64)
        with pytest.raises(InputError, match=r", of dimension 64, found .*, of dimension 384$"):
            store.check_extractor(DINO, 384)
        store.check_extractor(EXTRACTOR)
        with pytest.raises(InputError, match="has a generation of"):
            store.renew(trained)


def test_a_quantiser_for_other_features_begins_no_generation(
    make: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("others")
    narrow = load_or_train(folder / "a", training(features(800, 32)), "IVF4,PQ8x8np", "L2")
    other = load_or_train(folder / "b", training(features(800, 64), DINO), "IVF4,PQ8x8np", "L2")
    with make() as store:
        with pytest.raises(InputError, match=r"expected a quantiser of dimension 64 .* 32"):
            store.renew(narrow)
        with pytest.raises(InputError, match=r"features of sscd .* features of dino[^;]*$"):
            store.renew(other)
        assert len(store.generations) == 1


def test_features_of_another_dimension_are_refused(make: Make) -> None:
    with make() as store:
        with pytest.raises(ShapeError, match=r"expected shape \(n, 64\), found \(3, 32\)"):
            store.add(NewImages(["a", "b", "c"], features(3, 32)))
        with pytest.raises(ShapeError):
            store.search_features(features(3, 32))


@pytest.mark.parametrize("option", ["k", "effort", "nprobe", "refine"])
def test_numbers_out_of_range_are_refused_by_name(make: Make, option: str) -> None:
    with make() as store, pytest.raises(InputError, match=f"^{option}: expected"):
        store.search_features(queries(), **{option: -1})  # type: ignore[arg-type]


def test_an_open_store_sees_what_others_write(make: Make, renewed: TrainedIndex) -> None:
    with make() as reader, make() as writer:
        assert reader.search_features(queries(), 3).ids.max() == -1
        writer.add(batch(60))
        assert reader.count() == 60
        found = reader.search_features(queries(), 60, nprobe=16)
        assert (np.sort(found.ids, axis=1) == np.arange(60)).all()
        writer.remove(np.arange(0, 60, 2))
        writer.compact()
        found = reader.search_features(queries(), 60, nprobe=16, refine=1)
        assert set(found.ids.ravel().tolist()) == {-1, *range(1, 60, 2)}
        assert [record.id for record in reader.get(np.arange(4))] == [1, 3]
        writer.renew(renewed)
        writer.add(batch(5, prefix="renewed"))
        assert reader.named(["renewed-0004.jpg"]).tolist() == [64]
        assert set(reader.search_features(queries(), 40, nprobe=16).ids.ravel()) >= set(
            range(60, 65)
        )


def test_two_open_stores_that_both_add_do_not_add_a_name_twice(make: Make) -> None:
    with make() as first, make() as second:
        first.search_features(queries(), 1)  # Its codes are in memory.
        assert second.add(batch(30)).ids == list(range(30))
        assert first.add(batch(40)).ids == list(range(40))
        assert second.add(batch(40)).ids == list(range(40))
        for store in (first, second):
            found = store.search_features(queries(), 50, nprobe=16, where="id >= 30")
            assert set(found.ids.ravel().tolist()) == {-1, *range(30, 40)}


def test_one_process_writes_at_a_time(make: Make, tmp_path: Path) -> None:
    with make() as reader, only_run(tmp_path / "store"):
        assert reader.count() == 0
        with pytest.raises(InputError, match="expected no other run here"):
            reader.add(batch(2))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("free", [2, 24, 36])
def test_a_full_disk_ends_the_making_of_a_store_in_a_line(
    tiny_disk: Path, tmp_path: Path, engine: str, free: int
) -> None:
    trained = load_or_train(tmp_path / "small", training(features(800, 16)), "IVF4,PQ8x8np", "L2")
    (tiny_disk / "others").write_bytes(bytes((64 - free) << 10))
    with pytest.raises(ActiveIndexError, match=rf"^{tiny_disk}/store\S+:") as caught:
        Store.create(f"{engine}{tiny_disk / 'store'}", trained)
    assert "\n" not in str(caught.value)
    (tiny_disk / "others").unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(tiny_disk)], check=True)
    with Store.create(f"{engine}{tiny_disk / 'store'}", trained) as store:
        assert store.add(features(2, 16), ["a", "b"]).count == 2


def test_a_file_where_the_store_would_be_is_named(tmp_path: Path, trained: TrainedIndex) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/store"):
        with pytest.raises(ActiveIndexError, match=rf"^{tmp_path}/{place}: cannot be written"):
            Store.create(tmp_path / place, trained)


def test_opening_a_store_never_takes_the_lock_of_a_writer(make: Make, tmp_path: Path) -> None:
    with make() as store:
        store.add(batch(20))
    before = (tmp_path / "store").stat().st_mtime_ns  # Changes as the lock's file comes.
    with make() as reader:
        assert reader.count() == 20
    assert (tmp_path / "store").stat().st_mtime_ns == before


def test_a_batch_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ShapeError, match="features"):
        NewImages(["a"], features(2, 64))
    with pytest.raises(InputError, match="found 'a' twice"):
        NewImages(["a", "b", "a"], features(3, 64))
    with pytest.raises(InputError, match="NaN"):
        NewImages(["a"], np.full((1, 4), np.nan, np.float32))


@pytest.mark.parametrize("address", ["store", "s3://bucket/store", "faiss:", "lance://"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="expected lance://PATH or faiss:PATH"):
        Store(address)
