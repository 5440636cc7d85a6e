"""Registration: a folder of pictures into a store, exactly once, whatever happens."""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import activeindex as ai
from activeindex.edits.differentiable import fixed_views
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import extract
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.extractors.features import features_of
from activeindex.images.decoding import read_rgb
from activeindex.images.levels import Pixels, to_square
from activeindex.indexing.artefact import train_index
from activeindex.indexing.packaged import packaged_index
from activeindex.runtime.files import file_hash
from activeindex.runtime.locking import only_run
from activeindex.runtime.pool import LocalEngine
from activeindex.stores import known_files
from activeindex.stores import register as module
from activeindex.stores.register import register
from activeindex.stores.store import Store
from tests.cli.collection import contents
from tests.indexing.trained import features
from tests.stores.conftest import ENGINES

QUICK: dict[str, Any] = {"preset": "fast", "iterations": 1}


class KilledError(Exception):
    """The end of a process, as far as one of its tests can see it."""


class DyingEngine(LocalEngine):
    """Dies after some results."""

    def __init__(self, results: int) -> None:
        super().__init__()
        self.results = results

    def run(self, job: Any, items: Sequence[Any]) -> Iterator[Any]:
        for number, result in enumerate(super().run(job, items)):
            if number == self.results:
                raise KilledError
            yield result


@pytest.fixture(scope="module")
def lite() -> Extractor:
    return ai.load_extractor()


@pytest.fixture(scope="module")
def album(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = Image.fromarray(photographs[name])
        image.thumbnail((96, 96))
        path = folder / ("more" if name == "rocket" else "") / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
    return folder


@pytest.fixture
def pictures(album: Path, tmp_path: Path) -> Path:
    shutil.copytree(album, tmp_path / "pictures")
    return tmp_path / "pictures"


def names(store: Path | str) -> list[str]:
    with Store(store) as opened:
        return sorted(record.name for record in opened.get(opened.select("id >= 0")))


@pytest.mark.parametrize("engine", ENGINES)
def test_pictures_are_activated_added_and_found(
    pictures: Path, tmp_path: Path, engine: str, lite: Extractor
) -> None:
    store = f"{engine}{tmp_path / 'store'}"
    done = register(pictures, store, extractor=lite, **QUICK)
    assert str(done) == "4 pictures registered"
    assert done.released == tmp_path / "pictures_released"
    assert sorted(contents(done.released)) == [
        "astronaut.png", "chelsea.png", "coffee.png", "more/rocket.png"
    ]  # fmt: skip
    with Store(store) as opened:
        assert opened.generations[0].identity == packaged_index().identity
        assert opened.extractor == lite.identity
        records = opened.get(np.arange(4))
        for record in records:
            assert record.activation is not None
            assert record.sha256 == file_hash(pictures / record.name)
            assert record.activation["output_sha256"] == file_hash(done.released / record.name)
        found = opened.search(done.released, k=1, extractor=lite)
        assert [result.matches[0].record.name for result in found] == [r.name for r in records]
        rows = opened.generations[0].rows(["released_feature"], "id", [0])
        feature = np.frombuffer(rows[0][0], "<f4")
        expected = extract(done.released / "astronaut.png", lite).values[0]
        np.testing.assert_allclose(feature, expected, atol=1e-5)


def test_pictures_that_came_later_are_taken_and_the_others_left_as_they_are(
    pictures: Path, tmp_path: Path, lite: Extractor
) -> None:
    late = (pictures / "coffee.png").rename(tmp_path / "late.png")
    first = register(pictures, tmp_path / "store", extractor=lite, **QUICK)
    assert first.released is not None
    before = contents(first.released)
    late.rename(pictures / "coffee.png")
    # Now two pictures would become astronaut.png: the one that is released keeps its name.
    shutil.copy(pictures / "astronaut.png", pictures / "astronaut.webp")
    second = register(pictures, tmp_path / "store", extractor=lite, **QUICK)
    assert str(second) == "2 pictures registered, 3 registered before"
    after = contents(first.released)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"coffee.png", "astronaut.webp.png"}
    assert str(register(pictures, tmp_path / "store", extractor=lite, **QUICK)) == (
        "0 pictures registered, 5 registered before"
    )
    assert contents(first.released) == after


@pytest.fixture(scope="module")
def uninterrupted(
    album: Path, lite: Extractor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Released files of a registration that nothing interrupts."""
    root = tmp_path_factory.mktemp("uninterrupted")
    register(album, root / "store", root / "released", extractor=lite, **QUICK)
    return contents(root / "released")


# KilledError before the first picture; after two that are added at once; after three that are only
# written, since pictures are added every few seconds.
@pytest.mark.parametrize(("results", "seconds"), [(0, 0.0), (2, 0.0), (3, 1e9)])
def test_a_killed_registration_goes_on_and_registers_each_picture_once(
    pictures: Path,
    tmp_path: Path,
    lite: Extractor,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, bytes],
    results: int,
    seconds: float,
) -> None:
    monkeypatch.setattr(module, "_SECONDS", seconds)
    store, released = tmp_path / "store", tmp_path / "released"

    def run(workers: LocalEngine | None = None) -> module.Registration:
        return register(pictures, store, released, extractor=lite, workers=workers, **QUICK)

    with pytest.raises(KilledError):
        run(DyingEngine(results))
    here = names(store)
    assert len(here) == (results if seconds == 0 else 0)
    assert str(run()).startswith(f"{counted(4 - len(here))} registered")
    assert names(store) == ["astronaut.png", "chelsea.png", "coffee.png", "more/rocket.png"]
    assert not [*released.glob(".*")]
    assert contents(released) == uninterrupted


def counted(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def test_names_with_other_content_are_left_out_and_nothing_is_overwritten(
    pictures: Path, tmp_path: Path, lite: Extractor
) -> None:
    store, released = tmp_path / "store", tmp_path / "released"
    (released / "more").mkdir(parents=True)
    (released / "more" / "rocket.png").write_bytes(b"somebody else's")
    first = register(pictures, store, released, extractor=lite, **QUICK)
    assert str(first) == "3 pictures registered, 1 left out"
    assert str(released / "more" / "rocket.png") in first.left_out[0]
    assert (released / "more" / "rocket.png").read_bytes() == b"somebody else's"
    before = contents(released)
    shutil.copy(pictures / "chelsea.png", pictures / "coffee.png")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    second = register(pictures, store, tmp_path / "more", extractor=lite, **QUICK)
    assert (second.count, second.before) == (1, 2)
    assert [line.partition(":")[0] for line in second.left_out] == [
        str(pictures / "coffee.png"), str(pictures / "broken.jpg")
    ]  # fmt: skip
    assert "the store has under this name" in second.left_out[0]
    assert contents(released) == before
    assert names(store) == ["astronaut.png", "chelsea.png", "coffee.png", "more/rocket.png"]


def test_pictures_that_did_not_change_are_not_read_again(
    pictures: Path, tmp_path: Path, lite: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def hashed(path: Path) -> str:
        read.append(path.name)
        return file_hash(path)

    def again() -> tuple[int, list[str]]:
        read.clear()
        done = register(pictures, tmp_path / "store", extractor=lite, untouched=True)
        return len(done.left_out), sorted(read)

    monkeypatch.setattr(known_files, "file_hash", hashed)
    monkeypatch.setattr(known_files, "_RECENT_NS", 0)
    assert again() == (0, [])
    assert again() == (0, ["astronaut.png", "chelsea.png", "coffee.png", "rocket.png"])
    assert again() == (0, [])
    # Same size and same modification time, but another content: the change of the inode tells.
    one, stat = pictures / "coffee.png", (pictures / "coffee.png").stat()
    one.write_bytes(one.read_bytes()[:-1] + b"!")
    os.utime(one, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert again() == again() == (1, ["coffee.png"])
    one.write_bytes(one.read_bytes()[:-1] + b"\x82")
    assert again() == (0, ["coffee.png"])
    assert again() == (0, [])
    # A file that was written just now may be written again within the same tick of the clock.
    monkeypatch.setattr(known_files, "_RECENT_NS", 10**18)
    os.utime(one)
    assert again() == again() == (0, ["coffee.png"])
    (tmp_path / "store" / ".registered.json").write_bytes(b"damaged")
    assert len(again()[1]) == 4
    one.unlink()
    one.symlink_to("nowhere")
    assert again()[0] == 1


def test_pictures_that_were_released_and_are_gone_are_named(
    pictures: Path, tmp_path: Path, lite: Extractor
) -> None:
    first = register(pictures, tmp_path / "store", extractor=lite, **QUICK)
    assert first.released is not None
    (first.released / "more" / "rocket.png").unlink()
    again = register(pictures, tmp_path / "store", extractor=lite, **QUICK)
    assert str(again) == "0 pictures registered, 4 registered before"
    (line,) = again.warnings
    assert "expected 4 pictures released before, found 3, without more/rocket.png" in line
    assert "activeindex store remove" in line
    with Store(tmp_path / "store") as store:
        store.remove(store.named(["more/rocket.png"]))
    assert register(pictures, tmp_path / "store", extractor=lite, **QUICK).count == 1
    assert (first.released / "more" / "rocket.png").is_file()


def test_a_picture_is_recognised_by_two_organisations_that_share_nothing(
    pictures: Path, tmp_path: Path, lite: Extractor
) -> None:
    ours, theirs = f"faiss:{tmp_path / 'ours'}", f"lance://{tmp_path / 'theirs'}"
    shutil.rmtree(pictures / "more")
    (pictures / "astronaut.png").unlink()
    first = register(pictures, ours, extractor=lite, **QUICK)
    assert first.released is not None
    # They have the pictures under other names and ids, and release them once more.
    (pictures / "chelsea.png").rename(pictures / "tabby.png")
    register(pictures, theirs, tmp_path / "theirs_released", extractor=lite, **QUICK)
    copy = Image.open(first.released / "chelsea.png").convert("RGB").crop((9, 9, 96, 64))
    with Store(ours) as one, Store(theirs) as other:
        found = [each.search(copy, k=1, extractor=lite)[0].matches[0] for each in (one, other)]
    assert [match.record.name for match in found] == ["chelsea.png", "tabby.png"]
    assert [match.record.id for match in found] == [0, 1]
    assert found[0].record.code == found[1].record.code
    assert found[0].record.quantiser == found[1].record.quantiser
    assert found[0].distance == pytest.approx(found[1].distance)


def test_two_registrations_share_a_store(
    pictures: Path, tmp_path: Path, lite: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    for name in ("chelsea", "rocket"):
        next(pictures.rglob(f"{name}.png")).rename(second / f"{name}.png")
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    with ThreadPoolExecutor() as threads:
        runs = [
            threads.submit(register, each, tmp_path / "store", extractor=lite, untouched=True)
            for each in (pictures, second)
        ]
        assert [run.result().count for run in runs] == [2, 2]
    assert names(tmp_path / "store") == ["astronaut.png", "chelsea.png", "coffee.png", "rocket.png"]
    monkeypatch.setattr(module, "_WAIT", 0.0)
    (second / "late.png").write_bytes((second / "rocket.png").read_bytes())
    with only_run(tmp_path / "store"), pytest.raises(InputError, match="expected no other run"):
        register(second, tmp_path / "store", extractor=lite, untouched=True)


def test_a_picture_can_have_codes_of_views(pictures: Path, tmp_path: Path, lite: Extractor) -> None:
    store = tmp_path / "store"
    done = register(pictures, store, extractor=lite, codes=2, **QUICK)
    assert done.released is not None
    square = to_square(read_rgb(done.released / "coffee.png"), lite.input_size)[None]
    [view] = fixed_views(square, 1)
    with Store(store) as opened:
        assert (opened.count(), opened.codes()) == (4, 8)
        found = opened.search_features(features_of(lite, view), 4)
        assert opened.get(found.ids[0, :1])[0].name == "coffee.png"
        assert sorted(found.ids[0]) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="codes: expected 1 to 3, found 4"):
        register(pictures, store, extractor=lite, codes=4)


@pytest.mark.parametrize("engine", ENGINES)
def test_untouched_pictures_are_added_as_they_are(
    pictures: Path, tmp_path: Path, engine: str, lite: Extractor
) -> None:
    store = f"{engine}{tmp_path / 'store'}"
    (pictures / "broken.jpg").write_bytes(b"no picture")
    done = register(pictures, store, extractor=lite, untouched=True)
    assert (str(done), done.released) == ("4 pictures registered, 1 left out", None)
    assert not (tmp_path / "pictures_released").exists()
    with Store(store) as opened:
        for record in opened.get(np.arange(4)):
            assert record.activation is None
            # The code of 12 views, as an activated picture would have it.
            picture = pictures / record.name
            feature = extract(picture, lite, descriptor_views=12).values
            code = opened.generations[0].quantiser.encode(feature)[0]
            assert record.code == code.tobytes()
            assert record.sha256 == file_hash(pictures / record.name)
    again = register(pictures, store, extractor=lite, untouched=True)
    assert (again.count, again.before, len(again.left_out)) == (0, 4, 1)


def test_what_cannot_be_registered_is_refused_before_anything_is_written(
    pictures: Path, tmp_path: Path, lite: Extractor
) -> None:
    store = tmp_path / "store"
    small = ai.load_extractor(input_size=96)
    index = train_index(ImageFeatures(features(300, 256), extractor=small.identity), "IVF2,PQ8x4np")
    (tmp_path / "empty").mkdir()

    def refused(*given: Any, **named: Any) -> str:
        with pytest.raises(InputError) as error:
            register(*given, **{"extractor": lite, **named})
        return str(error.value)

    assert "expected images" in refused(tmp_path / "empty", store)
    assert "expected a folder" in refused(tmp_path / "nowhere", store)
    assert "outside the images' folder" in refused(pictures, store, pictures / "released")
    assert "expected another folder" in refused(pictures, pictures)
    assert "expected 0 to 16" in refused(pictures, store, untouched=True, descriptor_views=99)
    assert "released: expected none" in refused(pictures, store, "released", untouched=True)
    assert "activeindex train_index" in refused(pictures, store, extractor=small)
    assert "expected the extractor lite0_copy" in refused(pictures, store, index=index)
    assert not store.exists()
    assert not (tmp_path / "pictures_released").exists()
    with Store.create(store):
        pass
    assert f"store {store}: expected the extractor" in refused(pictures, store, extractor=small)
    assert "expected the quantiser IVF" in refused(pictures, store, index=index)
    (tmp_path / "released").mkdir()
    with only_run(tmp_path / "released"):
        assert "expected no other run here" in refused(pictures, store, tmp_path / "released")
    (pictures / "activation.jsonl").touch()
    assert "activeindex store add" in refused(pictures, store)
    assert names(store) == []
