"""``lance://`` written, indexed and compacted elsewhere: what this process would have made."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from activeindex.errors import ActiveIndexError, InputError, MissingExtraError
from activeindex.extractors.feature_files import FeatureFile, read_features
from activeindex.indexing.artefact import TrainedIndex
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.ray_workers import RayWorkers
from activeindex.runtime.reporting import Progress
from activeindex.stores import ingest
from activeindex.stores.ingest import Added
from activeindex.stores.lance.jobs import SegmentJob
from activeindex.stores.store import Store
from tests.runtime.reporters import Showing
from tests.stores.conftest import batch, queries
from tests.stores.lance.failing_jobs import (
    DyingFragmentJob,
    DyingSegmentJob,
    ForgetfulJob,
)
from tests.stores.lance.test_generation import centroids_in

lance = pytest.importorskip("lance", reason="needs activeindex[lance]")
pytest.importorskip("lance_ray", reason="needs activeindex[lance-ray]")

PARTS = 6
EACH = 100
JOBS = "activeindex.stores.lance.generation"


@dataclass(frozen=True)
class Images:
    """A feature file, and what else is known of its rows."""

    features: FeatureFile
    names: list[str]
    activations: dict[str, dict[str, Any]]
    originals: Path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, trained: TrainedIndex) -> Images:
    """Some activated, some of those for another code; as float64, which stores round."""
    root = tmp_path_factory.mktemp("images")
    batches = [batch(EACH, part, f"part{part}") for part in range(PARTS)]
    values = np.concatenate([each.features for each in batches])
    names = [name for each in batches for name in each.names]
    codes = dict(zip(names, trained.quantiser.encode(values), strict=True))
    activations = {
        name: {**record, "code": "00" if name.endswith("9.jpg") else codes[name].tobytes().hex()}
        for each in batches
        for name, record in each.activations.items()
    }
    np.save(root / "fts.npy", values.astype(np.float64))
    for name in names:
        (root / name).write_text(name)
    return Images(read_features(root / "fts.npy", "FTS"), names, activations, root)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "ROWS", EACH)


class Counted(Progress):
    """Progress that is kept."""

    done = 0

    def advance(self, items: int = 1, **figures: float) -> None:
        self.done += items


class Stop(Progress):
    """Ctrl-C when something is done."""

    def advance(self, items: int = 1, **figures: float) -> None:
        raise KeyboardInterrupt


def add(store: Store, images: Images, parts: int = PARTS, progress: Any = None) -> Added:
    features = images.features
    if parts < PARTS:
        path = images.originals / f"fts-{parts}.npy"
        np.save(path, features.values[: parts * EACH].astype(np.float64))
        features = read_features(path, "FTS")
    return store.add(
        features,
        images.names[: parts * EACH],
        activation=images.activations,
        data_dir=images.originals,
        reporter=Showing(progress or Progress()),
    )


def address_of(folder: Path, trained: TrainedIndex) -> str:
    """Of an empty store."""
    Store.create(f"lance://{folder}", trained).close()
    return f"lance://{folder}"


def fill(
    folder: Path, trained: TrainedIndex, images: Images, engine: Engine | None, parts: int = PARTS
) -> str:
    """A store of the first parts, a fragment each, written and indexed by ``engine``."""
    address = f"lance://{folder}" if folder.exists() else address_of(folder, trained)
    with Store(address, engine) as store:
        before = store.count()
        counted = Counted()
        added = add(store, images, parts, counted)
        assert counted.done == parts * EACH
        assert (added.there, added.count) == (before, parts * EACH - before)
        counted = Counted()
        store.index(Showing(counted))
        assert counted.done == (0 if engine is None else added.count // EACH)
    return address


def data_of(folder: Path) -> Any:
    return lance.dataset(str(folder / "generation-0001" / "records.lance"))


def index_of(folder: Path) -> Any:
    (found,) = (index for index in data_of(folder).describe_indices() if index.name == "codes")
    return found


def check_same(one: str, other: str, removed: int | None = None) -> None:
    """Bit by bit, in the images, the codes and the answers."""
    ids = np.array([number for number in range(PARTS * EACH) if number != removed])
    with Store(one) as first, Store(other) as second:
        assert first.count() == second.count() == len(ids)
        assert [record.id for record in first.get(ids)] == ids.tolist()
        assert first.get(ids) == second.get(ids)
        raw, raw_too = (store.generations[0].features(ids) for store in (first, second))
        np.testing.assert_array_equal(raw_too, raw)
        for nprobe in (1, 4, 16):
            expected = first.search_features(queries(), len(ids), nprobe=nprobe)
            found = second.search_features(queries(), len(ids), nprobe=nprobe)
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.distances, expected.distances)
        assert (np.sort(found.ids, axis=1) == ids).all()


def test_with_workers_killed_midway_ray_makes_the_store_of_this_process(
    ray_two: RayWorkers,
    tmp_path: Path,
    trained: TrainedIndex,
    images: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    monkeypatch.setattr(f"{JOBS}.FragmentJob", DyingFragmentJob)
    monkeypatch.setattr(f"{JOBS}.SegmentJob", DyingSegmentJob)
    there = fill(tmp_path / "there", trained, images, ray_two)
    folder = tmp_path / "there" / "generation-0001"
    assert (folder / "died-writing").exists()
    assert (folder / "died-indexing").exists()
    files = list((folder / "records.lance" / "data").iterdir())
    assert len(files) == PARTS + 1  # That of the killed worker is nobody's.
    covered = [sorted(segment.fragment_ids) for segment in index_of(tmp_path / "there").segments]
    assert sorted(covered) == [[part] for part in range(PARTS)]
    check_same(here, there)
    index: Any = faiss.downcast_index(trained.index)
    expected = index.quantizer.reconstruct_n(0, index.nlist)
    assert np.array_equal(centroids_in(tmp_path / "there"), expected)
    for address, engine in ((here, None), (there, ray_two)):
        with Store(address, engine) as store:
            store.remove(np.array([5]))
            store.compact()
    assert len(data_of(tmp_path / "there").get_fragments()) == 1
    assert np.array_equal(centroids_in(tmp_path / "there"), expected)
    check_same(here, there, removed=5)


def test_what_was_added_is_told_alike(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    with Store(address_of(tmp_path / "here", trained)) as store:
        expected = add(store, images)
    with Store(address_of(tmp_path / "there", trained), LocalEngine()) as store:
        found = add(store, images)
    assert (found.count, found.activated) == (PARTS * EACH, len(images.activations))
    assert found.moved == [name for name in images.activations if name.endswith("9.jpg")]
    assert vars(found) == vars(expected)


def test_more_is_added_to_what_was_written_elsewhere(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    there = fill(tmp_path / "there", trained, images, LocalEngine(), 3)
    fill(tmp_path / "there", trained, images, LocalEngine(), 5)
    fill(tmp_path / "there", trained, images, None)
    check_same(here, there)


def test_names_that_are_there_already_are_left_as_they_are(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    """Those of the store, and those of a part before."""
    names = [*images.names[: 2 * EACH], *images.names[EACH - 10 : 2 * EACH - 10]]
    answers = []
    for name, engine in (("here", None), ("there", LocalEngine())):
        with Store(address_of(tmp_path / name, trained), engine) as store:
            store.add(batch(30, 9, "part1"))
            added = add(store, replace(images, names=names), 3)
            assert (added.count, added.there) == (2 * EACH - 30, EACH + 30)
            answers.append(store.get(store.select("id >= 0")))
    assert answers[0] == answers[1]


def test_adding_that_was_stopped_goes_on_after_the_last_part(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    address = address_of(tmp_path / "there", trained)
    with Store(address, LocalEngine()) as store:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                add(store, images, PARTS, Stop())
            assert store.count() == EACH  # The second one stops at what is there.
    with Store(address, LocalEngine()) as store:
        added = add(store, images)
        assert (added.count, added.there) == ((PARTS - 1) * EACH, EACH)
        store.index()
    check_same(here, address)


def test_indexing_that_was_stopped_goes_on_after_the_last_part(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    address = address_of(tmp_path / "there", trained)
    with Store(address, LocalEngine()) as store:
        add(store, images)
        with pytest.raises(KeyboardInterrupt):
            store.index(Showing(Stop()))
    with Store(address, LocalEngine()) as store:
        counted = Counted()
        store.index(Showing(counted))
    assert counted.done == PARTS - 1
    check_same(here, address)


def test_images_are_left_to_their_writer_until_it_closes_and_then_indexed_by_the_next(
    tmp_path: Path, trained: TrainedIndex, images: Images
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    address = address_of(tmp_path / "there", trained)
    with Store(address, LocalEngine()) as store:
        add(store, images)
        with Store(address) as reader:
            assert reader.count() == PARTS * EACH
            assert (reader.search_features(queries(), 3).ids == -1).all()
            with pytest.raises(InputError, match="found one that is writing"):
                reader.add(batch(1, 0, "other"))
    check_same(here, address)


@pytest.mark.parametrize(
    ("path", "shape", "message"),
    [
        ("elsewhere.npy", (600, 64), r"FTS .*elsewhere.npy: expected a file"),
        ("fts.npy", (601, 64), r"FTS .*fts.npy: expected shape \(601, 64\), found \(600, 64\)"),
    ],
)
def test_a_feature_file_that_a_worker_does_not_have_is_told_in_a_line(
    path: str,
    shape: tuple[int, int],
    message: str,
    tmp_path: Path,
    trained: TrainedIndex,
    images: Images,
) -> None:
    features = replace(
        images.features, path=images.originals / path, values=np.zeros(shape, np.float32)
    )
    with Store(address_of(tmp_path / "there", trained), LocalEngine()) as store:
        with pytest.raises(InputError, match=message):
            store.add(features, [str(number) for number in range(len(features.values))])
        assert store.count() == 0


def test_without_lance_ray_its_extra_is_named(
    tmp_path: Path, trained: TrainedIndex, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activeindex.stores.lance.jobs.find_spec", lambda name: None)
    extra = r'pip install "activeindex\[lance-ray\]"'
    with (
        Store(address_of(tmp_path / "there", trained), LocalEngine()) as store,
        pytest.raises(MissingExtraError, match=extra),
    ):
        add(store, images)


def test_a_part_of_another_model_is_noticed_and_taken_back(
    tmp_path: Path, trained: TrainedIndex, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fill(tmp_path / "here", trained, images, None)
    with monkeypatch.context() as forgetful:
        forgetful.setattr(f"{JOBS}.SegmentJob", ForgetfulJob)
        with pytest.raises(ActiveIndexError, match="Lance made another one; put back as it was"):
            fill(tmp_path / "there", trained, images, LocalEngine())
        (segment,) = index_of(tmp_path / "there").segments
        assert list(segment.fragment_ids) == [0]
    check_same(here, f"lance://{tmp_path / 'there'}")


def test_a_data_set_that_a_worker_does_not_have_is_told_in_a_line(
    ray_two: RayWorkers, tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(address_of(tmp_path / "there", trained), LocalEngine()) as store:
        (generation,) = store.generations
        store.add(batch(EACH))
        elsewhere = str(tmp_path / "elsewhere")
        monkeypatch.setattr(
            f"{JOBS}.SegmentJob", lambda uri, version, model: SegmentJob(elsewhere, version, model)
        )
        with pytest.raises(
            ActiveIndexError, match=r"elsewhere: Lance refused \(.*not found"
        ) as told:
            generation.index(ray_two)
        assert "\n" not in str(told.value)


def test_a_faiss_store_has_nothing_to_index(tmp_path: Path, trained: TrainedIndex) -> None:
    Store.create(f"faiss:{tmp_path / 's'}", trained).close()
    with pytest.raises(InputError, match=r"^engine: expected a store lance://PATH, .* faiss:"):
        Store(f"faiss:{tmp_path / 's'}", LocalEngine())
