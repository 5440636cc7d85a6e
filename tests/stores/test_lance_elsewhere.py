"""``lance://`` indexed elsewhere, by Ray workers: what this process would have made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from activeindex.errors import ActiveIndexError, InputError
from activeindex.indexing import TrainedIndex
from activeindex.running.ray_workers import RayWorkers
from activeindex.running.workers import Engine, Workers
from activeindex.stores import Store
from tests.stores.conftest import batch, queries
from tests.stores.segment_jobs import DyingJob, ForgetfulJob
from tests.stores.test_lance import centroids_in

lance = pytest.importorskip("lance", reason="needs activeindex[lance]")

PARTS = range(6)
EACH = 100
JOB = "activeindex.stores.lance_generation.SegmentJob"


class Counted:
    """Progress that is kept."""

    done = 0

    def advance(self, items: int = 1, **shown: float) -> None:
        self.done += items


def fill(
    folder: Path, trained: TrainedIndex, engine: Engine | None, parts: Iterable[int] = PARTS
) -> str:
    """A store of several batches, a fragment each, indexed by ``engine``."""
    address = f"lance://{folder}"
    if not folder.exists():
        Store.create(address, trained).close()
    with Store(address, engine) as store:
        for part in parts:
            store.add(batch(EACH, part, f"part{part}"))
        counted = Counted()
        store.index(counted)
        assert counted.done == (0 if engine is None else len(list(parts)))
    return address


def index_of(folder: Path) -> Any:
    data = lance.dataset(str(folder / "generation-0001" / "records.lance"))
    (found,) = (index for index in data.describe_indices() if index.name == "codes")
    return found


def check_same(one: str, other: str) -> None:
    """Bit by bit, in the images, the codes and the answers."""
    with Store(one) as first, Store(other) as second:
        ids = np.arange(len(PARTS) * EACH)
        assert first.get(ids) == second.get(ids)
        assert first.count() == second.count() == len(ids)
        for nprobe in (1, 4, 16):
            expected = first.search(queries(), len(ids), nprobe=nprobe)
            found = second.search(queries(), len(ids), nprobe=nprobe)
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.distances, expected.distances)
        assert (np.sort(found.ids, axis=1) == ids).all()


def test_with_a_worker_killed_midway_ray_makes_the_index_of_this_process(
    ray_two: RayWorkers, tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fill(tmp_path / "here", trained, None)
    monkeypatch.setattr(JOB, DyingJob)
    there = fill(tmp_path / "there", trained, ray_two)
    assert (tmp_path / "there" / "generation-0001" / "died").exists()
    covered = [sorted(segment.fragment_ids) for segment in index_of(tmp_path / "there").segments]
    assert sorted(covered) == [[part] for part in PARTS]
    check_same(here, there)
    index: Any = faiss.downcast_index(trained.index)
    expected = index.quantizer.reconstruct_n(0, index.nlist)
    assert np.array_equal(centroids_in(tmp_path / "there"), expected)
    with Store(there) as store:
        store.compact()
    assert np.array_equal(centroids_in(tmp_path / "there"), expected)
    check_same(here, there)


def test_more_is_added_to_what_was_indexed_elsewhere(tmp_path: Path, trained: TrainedIndex) -> None:
    here = fill(tmp_path / "here", trained, None)
    there = fill(tmp_path / "there", trained, Workers(), range(3))
    fill(tmp_path / "there", trained, Workers(), range(3, 5))
    fill(tmp_path / "there", trained, None, range(5, 6))
    check_same(here, there)


def test_indexing_that_was_stopped_goes_on_after_the_last_part(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    class Stop:
        def advance(self, items: int = 1, **shown: float) -> None:
            raise KeyboardInterrupt

    here = fill(tmp_path / "here", trained, None)
    address = fill(tmp_path / "there", trained, None, ())
    with Store(address, Workers()) as store:
        for part in PARTS:
            store.add(batch(EACH, part, f"part{part}"))
        with pytest.raises(KeyboardInterrupt):
            store.index(Stop())
    with Store(address, Workers()) as store:
        counted = Counted()
        store.index(counted)
    assert counted.done == len(PARTS) - 1
    check_same(here, address)


def test_images_are_left_to_their_writer_until_it_closes_and_then_indexed_by_the_next(
    tmp_path: Path, trained: TrainedIndex
) -> None:
    here = fill(tmp_path / "here", trained, None)
    address = fill(tmp_path / "there", trained, None, ())
    with Store(address, Workers()) as store:
        for part in PARTS:
            store.add(batch(EACH, part, f"part{part}"))
        with Store(address) as reader:
            assert reader.count() == len(PARTS) * EACH
            assert (reader.search(queries(), 3).ids == -1).all()
            with pytest.raises(InputError, match="found one that is writing"):
                reader.add(batch(1, 0, "other"))
    check_same(here, address)


def test_a_part_of_another_model_is_noticed_and_taken_back(
    tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fill(tmp_path / "here", trained, None)
    with monkeypatch.context() as forgetful:
        forgetful.setattr(JOB, ForgetfulJob)
        with pytest.raises(ActiveIndexError, match="Lance made another one; put back as it was"):
            fill(tmp_path / "there", trained, Workers())
        (segment,) = index_of(tmp_path / "there").segments
        assert list(segment.fragment_ids) == [0]
    check_same(here, f"lance://{tmp_path / 'there'}")


def test_a_data_set_that_a_worker_does_not_have_is_told_in_a_line(
    ray_two: RayWorkers, tmp_path: Path, trained: TrainedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(f"lance://{tmp_path / 'there'}", trained) as store:
        (generation,) = store.generations
        generation.add(np.arange(EACH), batch(EACH))
        elsewhere = str(tmp_path / "elsewhere")
        monkeypatch.setattr(JOB, lambda uri, version, model: DyingJob(elsewhere, version, model))
        with pytest.raises(
            ActiveIndexError, match=r"elsewhere: Lance refused \(.*not found"
        ) as told:
            generation.recover(ray_two)
        assert "\n" not in str(told.value)


def test_a_faiss_store_has_nothing_to_index(tmp_path: Path, trained: TrainedIndex) -> None:
    Store.create(f"faiss:{tmp_path / 's'}", trained).close()
    with pytest.raises(InputError, match=r"^engine: expected a store lance://PATH, .* faiss:"):
        Store(f"faiss:{tmp_path / 's'}", Workers())
