"""What is particular to ``lance://``."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from activeindex.errors import ActiveIndexError, InputError
from activeindex.indexing.artefact import TrainedIndex, load_or_train
from activeindex.stores.check import check_store
from activeindex.stores.lance.generation import LanceGeneration
from activeindex.stores.store import Store
from tests.indexing.trained import Array, features
from tests.stores.conftest import batch, queries, training

lance = pytest.importorskip("lance", reason="needs activeindex[lance]")


def centroids_in(store: Path) -> Array:
    data = lance.dataset(str(store / "generation-0001" / "records.lance"))
    model = data.get_ivf_model("codes").centroids
    return np.asarray(model.values.to_numpy().reshape(len(model), -1))


def test_the_index_is_made_with_the_centroids_of_faiss_before_and_after_compacting(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    index: Any = faiss.downcast_index(trained.index)
    expected = index.quantizer.reconstruct_n(0, index.nlist)
    with Store.create(f"lance://{tmp_path / 's'}", trained) as store:
        for part in range(3):
            store.add(batch(100, part, f"part{part}"))
            assert np.array_equal(centroids_in(tmp_path / "s"), expected)
        store.compact()
    assert np.array_equal(centroids_in(tmp_path / "s"), expected)


def test_a_model_that_lance_trained_itself_is_noticed_and_put_back(
    tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lance's own optimisation, which compacting must not fall for."""
    from lance.dataset import DatasetOptimizer

    optimise = DatasetOptimizer.optimize_indices

    def retrained(self: Any, **options: object) -> None:
        optimise(self, retrain=True)

    with Store.create(f"lance://{tmp_path / 's'}", trained) as store:
        for part in range(2):
            store.add(batch(400, part, f"part{part}"))
        before = store.search_features(queries(), 10, nprobe=4)
        monkeypatch.setattr(DatasetOptimizer, "optimize_indices", retrained)
        with pytest.raises(ActiveIndexError, match="Lance made another one; put back as it was"):
            store.compact()
        after = store.search_features(queries(), 10, nprobe=4)
        np.testing.assert_array_equal(after.ids, before.ids)
        np.testing.assert_array_equal(after.distances, before.distances)


def test_rows_of_a_writer_killed_before_indexing_are_indexed_on_opening(
    tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"lance://{tmp_path / 's'}"
    with Store.create(address, trained) as store, monkeypatch.context() as killed:
        killed.setattr(LanceGeneration, "index", lambda self: None)
        store.add(batch(40))
    with Store(address) as store:
        found = store.search_features(queries(), 40, nprobe=16)
    expected = trained.quantiser.reconstruct(batch(40).features)
    distances = np.sort(((queries()[:, None] - expected[None]) ** 2).sum(axis=2), axis=1)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-3, atol=1e-5)


def test_no_check_misses_files_of_old_versions_that_a_killed_writer_was_removing(
    tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"lance://{tmp_path / 's'}"
    with Store.create(address, trained) as store:
        for part in range(2):
            store.add(batch(100, part, f"part{part}"))
    before = len(list((tmp_path / "s").rglob("*.manifest")))
    with Store(address) as store:
        (generation,) = store.generations
        assert isinstance(generation, LanceGeneration)
        with monkeypatch.context() as killed:  # Before the checksums of what is left are written.
            killed.setattr(generation, "_seal", lambda: None)
            generation._remove_old()
    assert len(list((tmp_path / "s").rglob("*.manifest"))) < before
    assert list(check_store(address, full=True)) == []
    with Store(address) as store:
        assert store.count() == 200
    assert list(check_store(address, full=True)) == []


def test_a_damaged_file_is_named_before_rust_prints_about_it(
    tmp_path: Path, trained: TrainedIndex, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"lance://{tmp_path / 's'}"
    with Store.create(address, trained) as store:
        store.add(batch(100))
        store.remove([3])
    files = [path for path in (tmp_path / "s").rglob("records.lance/**/*") if path.is_file()]
    kinds = {path.suffix: path for path in sorted(files, reverse=True)}  # The newest manifest.
    assert kinds.keys() == {".manifest", ".lance", ".idx", ".arrow"}
    for path in kinds.values():
        right = path.read_bytes()
        for place in (0, len(right) // 2, len(right) - 9):
            path.write_bytes(right[:place] + b"\xff\x7f\xff\x7f" + right[place + 4 :])
            with pytest.raises(InputError, match=f"{path.name}: expected the file as it was"):
                Store(address)
        path.write_bytes(right)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("factory", ["IVF4,Flat", "PQ8x8np", "PCA32,IVF4,PQ8x8np", "IVF4,PQ8x4np"])
def test_an_index_that_lance_does_not_have_is_refused(tmp_path: Path, factory: str) -> None:
    other = load_or_train(tmp_path / "q", training(features(800, 64)), factory, "L2")
    with pytest.raises(InputError, match=r"expected IVFn,PQm .* found .*; faiss: takes it"):
        Store.create(f"lance://{tmp_path / 's'}", other)
    assert not (tmp_path / "s").exists()
    with Store.create(f"faiss:{tmp_path / 's'}", other) as store:
        store.add(batch(30))
        assert (store.search_features(queries(), 3, nprobe=4).ids >= 0).all()


def test_an_inner_product_is_for_faiss_only(tmp_path: Path) -> None:
    other = load_or_train(tmp_path / "q", training(features(800, 64)), "IVF4,PQ8x8np", "IP")
    with pytest.raises(InputError, match="metric L2"):
        Store.create(f"lance://{tmp_path / 's'}", other)
    images = batch(30)
    with Store.create(f"faiss:{tmp_path / 's'}", other) as store:
        store.add(images)
        found = store.search_features(queries(), 30, nprobe=4)
        refined = store.search_features(queries(), 3, nprobe=4, refine=10)
    products = queries() @ other.quantiser.reconstruct(images.features).T
    np.testing.assert_allclose(found.distances, -np.sort(-products, axis=1), rtol=1e-3, atol=1e-5)
    exact = -np.sort(-(queries() @ images.features.T), axis=1)[:, :3]
    np.testing.assert_allclose(refined.distances, exact, rtol=1e-4)


def test_a_store_of_the_other_engine_or_a_broken_note_is_refused(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    Store.create(f"faiss:{tmp_path / 's'}", trained).close()
    with pytest.raises(InputError, match="expected a store of format 2 and engine lance, found"):
        Store(f"lance://{tmp_path / 's'}")
    with pytest.raises(InputError, match="found one"):
        Store.create(f"lance://{tmp_path / 's'}", trained)
    (tmp_path / "s" / "store.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(InputError, match="expected the note of a store"):
        Store(f"faiss:{tmp_path / 's'}")


def test_threads_that_ask_at_once_open_a_new_generation_once(
    tmp_path: Path, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    address = f"lance://{tmp_path / 's'}"
    with Store.create(address, trained) as writer, Store(address) as reader:
        writer.add(batch(10))
        writer.renew(renewed)
        writer.add(batch(5, prefix="renewed"))
        with ThreadPoolExecutor(8) as pool:
            counts = list(pool.map(lambda _: reader.count(), range(8)))
        assert counts == [15] * 8
        assert len(reader.generations) == 2
