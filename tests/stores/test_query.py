"""Stores are searched by images of any kind."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from activeindex.activation.activate import activate
from activeindex.errors import InputError, UnreadableImageError
from activeindex.extractors.coerce import extract
from activeindex.extractors.feature_files import NAMES_FILE
from activeindex.indexing.artefact import train_index
from activeindex.stores.store import Store

NAMES = ["a.png", "b.png", "c.png"]


@pytest.fixture(scope="module")
def pictures() -> list[npt.NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (3, 6, 8, 3), np.uint8)
    return [np.asarray(Image.fromarray(each).resize((80, 60))) for each in small]


@pytest.fixture
def store(pictures: list[npt.NDArray[np.uint8]], tmp_path: Path) -> Store:
    """Of features of the default extractor, made with a plain path."""
    features = extract(pictures)
    noise = np.random.default_rng(1).normal(scale=0.02, size=(300, features.shape[1]))
    index = train_index(features.values[np.arange(300) % 3] + noise, "IVF2,PQ8x4np")
    with Store.create(tmp_path / "store", index) as made:
        assert made.add(features, NAMES).ids == [0, 1, 2]
    return Store(tmp_path / "store")


def test_files_pillow_images_arrays_and_tensors_are_searched_for(
    store: Store, pictures: list[npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    Image.fromarray(pictures[0]).save(folder / "query.png")
    tensor = torch.from_numpy(pictures[2]).movedim(2, 0) / 255
    with store:
        results = store.search(
            [folder, str(folder / "query.png"), Image.fromarray(pictures[1]), pictures[2], tensor],
            k=2,
            nprobe=2,
        )
        assert [each.query for each in results] == [
            *("query.png", "query.png", "image 2", "image 3", "image 4")
        ]
        nearest = [each.matches[0].record.name for each in results]
        assert nearest == ["a.png", "a.png", "b.png", "c.png", "c.png"]
        assert [len(each.matches) for each in results] == [2] * 5
        again = store.search(extract(pictures), k=1, nprobe=2)
        assert [each.matches[0].record.name for each in again] == NAMES
        every = store.search(extract(pictures), k=10**30, nprobe=2, refine=10**30)
        assert [len(each.matches) for each in every] == [3] * 3
        filtered = store.search(pictures[0], nprobe=2, where="name = 'b.png'")
        assert [match.record.name for match in filtered[0].matches] == ["b.png"]
        assert store.search(pictures[0], where="id > 7")[0].matches == []


def test_results_print_as_a_table_and_convert(
    store: Store, pictures: list[npt.NDArray[np.uint8]]
) -> None:
    with store:
        results = store.search(pictures, k=2, nprobe=2)
        nothing = store.search(pictures[:1], where="id > 7")
    first, second = results[1].matches
    assert str(results).splitlines()[3:6] == [
        "image 1",
        f"     1  {first.distance:.4f}  b.png  (id 1, {first.record.quantiser})",
        f"     2  {second.distance:.4f}  {second.record.name}  "
        f"(id {second.record.id}, {second.record.quantiser})",
    ]
    assert str(nothing) == "image 0\n  nothing"
    [_, one, _] = results.as_json()
    assert one["query"] == "image 1"
    assert one["neighbours"][0] == {
        "rank": 0,
        "distance": first.distance,
        "id": 1,
        "name": "b.png",
        "sha256": None,
        "activated": False,
        "quantiser": first.record.quantiser.as_json(),
    }
    pytest.importorskip("pandas", reason="needs activeindex[pandas]")
    table = results.to_pandas()
    assert len(table) == 6
    assert table["name"].tolist()[::2] == NAMES
    assert table["query"].tolist() == [f"image {place}" for place in (0, 0, 1, 1, 2, 2)]
    assert table["quantiser.sha256"][0] == first.record.quantiser.sha256


def test_images_of_another_extractor_and_no_images_are_refused(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with store:
        with pytest.raises(InputError, match="k: expected 1 or more, found 0"):
            store.search([], k=0)
        with pytest.raises(InputError, match="images: expected one or more, found none"):
            store.search([])
        with pytest.raises(UnreadableImageError, match=r"a\.png"):
            store.search(tmp_path / "a.png")
        with pytest.raises(InputError, match="extractor: expected a name, a file or an extractor"):
            store.search(tmp_path / "a.png", extractor=3)  # type: ignore[arg-type]


def test_features_come_with_their_names_or_are_refused(
    store: Store, pictures: list[npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    for name, picture in zip(NAMES, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    with store:
        assert store.add(extract([tmp_path / "c.png", tmp_path / "b.png"])).ids == [2, 1]
        with pytest.raises(InputError, match="names: expected a name for each feature, found none"):
            store.add(extract(pictures))
        with pytest.raises(InputError, match="names: expected a name for each feature, found none"):
            store.add(np.zeros((1, store.dimension)))
        (tmp_path / NAMES_FILE).write_text("new.png\n")
        added = store.add(np.ones((1, store.dimension)), tmp_path / NAMES_FILE)
        assert (str(added), added.ids) == ("1 image added, 0 of them activated", [3])
        with pytest.raises(InputError, match="index: expected a trained index, its folder or file"):
            store.renew(7)  # type: ignore[arg-type]


def test_a_plain_path_opens_the_store_that_is_there(store: Store, tmp_path: Path) -> None:
    store.close()
    for address in (tmp_path / "store", str(tmp_path / "store"), f"faiss:{tmp_path / 'store'}"):
        with Store(address) as opened:
            assert opened.count() == 3
            assert repr(opened) == f"Store('faiss:{tmp_path / 'store'}')"


def test_a_store_that_cannot_be_opened_leaves_nothing_open(store: Store, tmp_path: Path) -> None:
    store.close()
    [records] = tmp_path.rglob("records.sqlite")
    records.write_bytes(b"no database" * 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(InputError, match="expected the records of a store"):
            Store(tmp_path / "store")


def test_what_activate_returned_is_added_like_the_folder_that_it_saves(
    store: Store, pictures: list[npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    index = store.generations[0].trained
    named = activate(pictures[:2], index, iterations=1, names=["new.png", None])
    with store, Store.create(tmp_path / "other", index) as other:
        added = store.add(named)
        assert (str(added), added.moved) == ("2 images added, 2 of them activated", [])
        records = store.get(added.ids)
        assert [record.name for record in records] == ["new.png", "00001.png"]
        other.add(named.save(tmp_path / "released"))
        saved = other.get([0, 1])
        assert [(one.name, one.code, one.sha256) for one in records] == [
            (one.name, one.code, one.sha256) for one in saved
        ]
        assert [record.activation["psnr"] for record in saved if record.activation] == [
            image.psnr for image in named
        ]
    features = extract(pictures)
    values = np.repeat(features.values, 40, axis=0)
    noise = np.random.default_rng(2).normal(scale=0.02, size=values.shape)
    another = train_index(values + noise, "IVF2,PQ8x4np")
    with Store.create(tmp_path / "another", another) as refusing:
        with pytest.raises(InputError, match=r"images: new\.png was activated for the quantiser"):
            refusing.add(named)
        assert refusing.count() == 0
