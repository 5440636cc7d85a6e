"""From files of ``extract_fts`` and ``activate`` into a store."""

import json
import resource
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from activeindex.errors import ActiveIndexError, InputError
from activeindex.extractors.feature_files import read_features
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from activeindex.stores.ingest import Added, NewImage, read_activations, read_names
from activeindex.stores.store import Store
from tests.indexing.trained import Array, features
from tests.indexing.trained import trained as index_of
from tests.stores.conftest import batch

EXTRACTOR = {"name": "sscd", "sha256": "0123456789ab", "input_size": 288}


def record(name: str, code: bytes, index: TrainedIndex, **more: object) -> dict[str, object]:
    identity = {"name": index.identity.name, "sha256": index.identity.sha256}
    aim = {"quantiser": identity, "code": code.hex(), "distance_before": 0.9, "distance_after": 0.5}
    return {"name": name, "sha256": "ab" * 32, "psnr": 41.5, "extractor": EXTRACTOR, **aim, **more}


def write(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def test_a_record_of_several_quantisers_gives_what_was_reached_for_this_one(
    tmp_path: Path, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    values = features(2, 64)
    np.save(tmp_path / "fts.npy", values)
    code = trained.quantiser.encode(values)[0].tobytes()
    also = {**record("a.jpg", code, trained), "distance_after": 0.25}
    path = write(tmp_path / "a.jsonl", record("a.jpg", b"x", renewed, also=[also]))
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        activations = read_activations(path, store, store.generations[0])
        file = read_features(tmp_path / "fts.npy", "fts")
        added = store.add(file, ["a.jpg", "b.jpg"], activation=activations)
        assert (added.count, added.activated, added.moved) == (2, 1, [])
        assert store.select("distance_after = 0.25 AND psnr > 41").tolist() == [0]
        assert store.get(np.array([0]))[0].sha256 == "ab" * 32


def test_records_of_another_quantiser_or_extractor_are_refused_with_both_names(
    tmp_path: Path, trained: TrainedIndex, renewed: TrainedIndex
) -> None:
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        generation = store.generations[0]
        path = write(tmp_path / "a.jsonl", record("a.jpg", b"x", renewed))
        with pytest.raises(InputError) as refused:
            read_activations(path, store, generation)
        assert f"the quantiser {renewed.identity}, expected {trained.identity}" in str(
            refused.value
        )
        assert set(read_activations(path, store, generation, force=True)) == {"a.jpg"}
        other = {**EXTRACTOR, "name": "dino"}
        path = write(tmp_path / "b.jsonl", record("a.jpg", b"x", trained, extractor=other))
        with pytest.raises(InputError, match=r"features of sscd .*, found features of dino"):
            read_activations(path, store, generation)


def test_an_image_whose_code_is_not_the_one_it_was_activated_for_is_told(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    np.save(tmp_path / "fts.npy", features(1, 64))
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        added = store.add(
            read_features(tmp_path / "fts.npy", "fts"),
            ["a.jpg"],
            activation={"a.jpg": record("a.jpg", b"another", trained)},
        )
    assert added.moved == ["a.jpg"]
    assert "1 have another code than they were activated for (a.jpg)" in str(added)


def moved(values: Array, noted: npt.NDArray[np.uint8], quantiser: Quantiser) -> list[str]:
    """Names, which are numbers, of features whose codes differ from those ``(n, code_size)``."""
    part = [NewImage(n, str(n), {"code": code.tobytes().hex()}) for n, code in enumerate(noted)]
    return Added.of(part, quantiser.encode(values), quantiser).moved


@pytest.mark.parametrize("factory", ["IVF16,Flat", "Flat"])
def test_the_last_bits_of_a_feature_make_no_other_code_of_it(factory: str) -> None:
    quantiser, values = Quantiser(index_of(factory)), features(20, seed=3)
    nearly, noted = np.nextafter(values, np.float32(2.0)), quantiser.encode(values)
    assert (quantiser.encode(nearly) != noted).any(axis=1).all()
    assert moved(nearly, noted, quantiser) == []
    assert moved(values[::-1].copy(), noted, quantiser) == [str(n) for n in range(20)]


def test_a_feature_beside_the_border_of_its_list_may_have_another_code() -> None:
    quantiser = Quantiser(index_of("IVF16,Flat"))
    values = features(20, seed=4)

    def number(value: Array) -> int:
        return int(quantiser.encode(value)[0, 0])

    first = number(values[:1])
    one, other = values[:1], next(row[None] for row in values if number(row[None]) != first)
    for _ in range(40):  # To where a list begins.
        middle: Array = ((one + other) / 2).astype(np.float32)
        one, other = (middle, other) if number(middle) == first else (one, middle)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert moved(one, quantiser.encode(other), quantiser) == ["0"]


def test_the_code_of_a_list_that_the_index_lacks_is_another_code() -> None:
    """As with --force: an index of more lists, whose codes are as long, gave the records."""
    many, few = (
        Quantiser(train_faiss(features(800), "IVF64,PQ8x8np", "L2")),
        Quantiser(index_of("IVF16,PQ8x8np")),
    )
    values = features(50, seed=5)
    noted = many.encode(values)
    assert noted[:, 0].max() > 16
    assert len(moved(values, noted, few)) == 50


def test_images_that_were_left_as_they_were_or_only_encoded_are_no_activated_ones(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    values = features(3, 64)
    np.save(tmp_path / "fts.npy", values)
    codes = [code.tobytes() for code in trained.quantiser.encode(values)]
    more: list[dict[str, object]] = [{}, {"psnr": None}, {"psnr": 33.0, "budget_met": False}]
    names = ["a.jpg", "b.jpg", "c.jpg"]
    path = write(
        tmp_path / "a.jsonl",
        *(record(n, c, trained, **m) for n, c, m in zip(names, codes, more, strict=True)),
    )
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        activations = read_activations(path, store, store.generations[0])
        file = read_features(tmp_path / "fts.npy", "fts")
        added = store.add(file, names, activation=activations)
        assert str(added) == "3 images added, 1 of them activated"
        there = store.get(np.arange(3))
        assert [one.activated for one in there] == [True, False, False]
        # JSON has no infinity, filters do.
        assert [dict(one.activation or {})["psnr"] for one in there] == [41.5, None, 33.0]
        assert store.select("psnr > 60").tolist() == [1]


def test_hashes_of_originals_are_noted(tmp_path: Path, trained: TrainedIndex) -> None:
    (tmp_path / "a.jpg").write_bytes(b"abc")
    np.save(tmp_path / "fts.npy", features(1, 64))
    file = read_features(tmp_path / "fts.npy", "fts")
    with Store.create(f"faiss:{tmp_path / 's'}", trained) as store:
        store.add(file, ["a.jpg"], data_dir=tmp_path)
        assert store.get(np.array([0]))[0].sha256 == (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        with pytest.raises(InputError, match=r"data_dir .*b.jpg: expected a file"):
            store.add(file, ["b.jpg"], data_dir=tmp_path)


def test_names_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    names = ["a b.jpg", "c/ü.png", "a\u2028b\x0b.png"]
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    assert read_names(path, 3) == names
    with pytest.raises(InputError, match="expected 2 names, one per feature, found 3"):
        read_names(path, 2)
    path.write_bytes(b"a.png\r\ncaf\xe9.png\r\n")
    with pytest.raises(InputError, match=r"names\.txt, line 2: expected text in UTF-8"):
        read_names(path, 2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"name": "caf\xe9"}', "line 1: expected text in UTF-8"),
        (b"{", "line 1: expected a record of an activated image"),
        (b'{"name": "a", "quantiser": {"sha": 1}}', "the record of a to name its quantiser"),
        (b'{"name": "a", "also": [3]}', "the record of a to name its quantiser"),
    ],
)
def test_a_broken_record_is_told_in_a_line(
    tmp_path: Path, trained: TrainedIndex, line: bytes, reason: str
) -> None:
    path = tmp_path / "activation.jsonl"
    path.write_bytes(line + b"\n")
    store = Store.create(f"faiss:{tmp_path / 'store'}", trained)
    with store, pytest.raises(InputError, match=reason):
        read_activations(path, store, store.generations[0])


def test_a_disk_that_is_full_is_told_in_a_line_and_the_store_goes_on(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    with Store.create(f"faiss:{tmp_path / 'store'}", trained) as store:
        store.add(batch(20))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        [records] = tmp_path.rglob("records.sqlite")
        resource.setrlimit(resource.RLIMIT_FSIZE, (records.stat().st_size, limits[1]))
        try:
            with pytest.raises(ActiveIndexError, match=r"sqlite: the store cannot be used \(.*\)$"):
                store.add(batch(4000, prefix="more"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert store.count() == 20
        store.add(batch(40))
        assert store.count() == 40
