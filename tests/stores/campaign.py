"""Kills and power losses of writers: ``python -m tests.stores.campaign FOLDER ENGINE SEED KILLS``.

Runs with ``faults.c`` preloaded. Writers are forked from this process, which has imported all that
they need, and are killed at a chosen flush, rename, link or removal. What is left is looked at in
three ways: as the kill left it; as a power loss at that moment would have left it, if the system
had written only what was flushed; and the same with the names of files that were never flushed.
"""

import ctypes
import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from activeindex.indexing.artefact import TrainedIndex, load_or_train
from activeindex.stores.check import check_store
from activeindex.stores.ingest import NewImages
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import batch, queries, training

V0_1 = Path(__file__).parents[1] / "fixtures" / "v0_1"
ACTIONS = ("add", "remove", "renew", "migrate", "upgrade", "compact")
EACH = 20
REMOVED = [*range(5, 15), *range(45, 50)]
"""Ids of images of both generations."""


class Campaign:
    """Actions on copies of a store, and what is to hold after a kill."""

    def __init__(self, root: Path, engine: str) -> None:
        self.root, self.engine = root, engine
        self.first = trained(root / "first", 16, 0)
        self.second = trained(root / "second", 8, 7)
        self.third = trained(root / "third", 4, 8)

    def address(self, store: Path) -> str:
        return f"{self.engine}{store}"

    def make(self, store: Path) -> None:
        """Two generations of 40 and 20 images; some were removed."""
        with Store.create(self.address(store), self.first) as made:
            made.add(batch(2 * EACH, 0, "base"))
            made.renew(self.second)
            made.add(batch(EACH, 1, "newer"), released_features=features(EACH, 64, 3))
            made.remove([0, 59])

    def make_old(self, store: Path) -> None:
        kind = "faiss" if self.engine.startswith("faiss") else "lance"
        shutil.copytree(V0_1 / f"store_{kind}", store)

    def added(self) -> list[NewImages]:
        return [batch(EACH, 10 + part, f"added{part}") for part in range(2)]

    def add(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            for images in self.added():
                opened.add(images, tags=[["tag"]] * EACH)
                acknowledge()

    def remove(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            opened.remove(REMOVED)
            acknowledge()

    def renew(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            opened.renew(self.third)
            acknowledge()

    def migrate(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            opened.migrate(self.third, force=True)
            acknowledge()

    def compact(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            opened.compact()
            acknowledge()

    def upgrade(self, store: Path, acknowledge: Callable[[], None]) -> None:
        with Store(self.address(store)) as opened:
            opened.upgrade()
            acknowledge()

    def check(self, action: str, store: Path, acknowledged: int) -> None:
        """Check what a kill has left, and that the action succeeds when it is repeated."""
        before = 5 if action == "upgrade" else 58
        for repeated in (False, True):
            if repeated:
                getattr(self, action)(store, lambda: None)
                acknowledged = 2 if action == "add" else 1
            with Store(self.address(store)) as opened:
                count = opened.count()
                if action == "add":
                    parts = (count - before) / EACH
                    assert parts in (acknowledged, min(2, acknowledged + 1)), parts
                elif action == "remove":
                    left = before - len(REMOVED)
                    assert count in ((left,) if acknowledged else (left, before)), count
                else:
                    assert count == before, count
                if action == "renew":
                    there = len(opened.generations)
                    assert there in ((3,) if acknowledged else (2, 3)), there
                if action == "migrate":
                    there = len(opened.generations)
                    assert there in ((1,) if acknowledged else (1, 2)), there
                if action == "upgrade":
                    assert opened.format in ((2,) if acknowledged else (1, 2)), opened.format
                self.check_answers(opened)
        faults = list(check_store(self.address(store), full=True))
        assert not faults, faults
        names = {path.name for path in store.rglob("*")}
        assert not any("partial" in name or name.endswith(".txn") for name in names), names
        with Store(self.address(store)) as opened:
            folders = {path.name for path in store.glob("generation-*")}
            assert folders == {generation.folder.name for generation in opened.generations}

    def check_answers(self, opened: Store) -> None:
        """Every image is found, once, at the distance of its code."""
        ids = opened.select("id >= 0")
        records = opened.get(ids)
        assert [record.id for record in records] == ids.tolist()
        assert len({record.name for record in records}) == len(records)
        query = queries(1) if opened.dimension == 64 else features(1, opened.dimension)
        found = opened.search_features(query, len(ids), nprobe=16)
        assert sorted(found.ids[0].tolist()) == ids.tolist()
        decoded = {
            record.id: generation.quantiser.decode(np.frombuffer(record.code, np.uint8)[None])[0]
            for generation in opened.generations
            for record in generation.get(ids)
        }
        expected = [((query[0] - decoded[number]) ** 2).sum() for number in found.ids[0].tolist()]
        np.testing.assert_allclose(found.distances[0], expected, rtol=1e-3, atol=1e-4)


def trained(folder: Path, lists: int, seed: int) -> TrainedIndex:
    return load_or_train(folder, training(features(800, 64, seed)), f"IVF{lists},PQ8x8np", "L2")


def in_child(work: Callable[[], None]) -> tuple[bool, str]:
    """Run a function in a forked process; returns whether it was killed, and its error."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        try:
            work()
        except BaseException:
            os.write(writer, traceback.format_exc()[-4000:].encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        error = file.read().decode()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), error


def contents(folder: Path) -> tuple[dict[str, int], dict[int, bytes]]:
    """Files below a folder, by their inodes, and their content."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path): path.stat().st_ino for path in paths}
    return names, {path.stat().st_ino: path.read_bytes() for path in paths}


def after_power_loss(
    store: Path, shadow: Path, start: tuple[dict[str, int], dict[int, bytes]], *, all_names: bool
) -> dict[str, bytes]:
    """Files that a power loss leaves of a store whose writer was killed.

    Args:
        store: The store.
        shadow: What ``faults.c`` has noted.
        start: What was there before.
        all_names: Names were written at once; otherwise those of a folder when it is flushed.
    """
    names, flushed = dict(start[0]), dict(start[1])
    folders = {str(Path(name).parent) for name in names}
    for line in (shadow / "log").read_text().splitlines():
        what, one, other, number = line.split("\t")
        if what == "flush":
            flushed[int(other)] = (shadow / f"{number}.copy").read_bytes()
        elif what == "sync":
            folders.add(one)
            names = {name: each for name, each in names.items() if str(Path(name).parent) != one}
        elif what == "name":
            names[one] = int(number)
    if all_names:
        names, _ = contents(store)
    return {name: flushed.get(inode, b"") for name, inode in names.items() if "-shm" not in name}


@dataclass(frozen=True)
class Trial:
    """An action on a copy of a store, which is killed at a call; never at 0."""

    campaign: Campaign
    action: str
    work: Path
    point: int

    @property
    def store(self) -> Path:
        return self.work / "store"

    def write(self) -> None:
        faults = ctypes.CDLL(None)
        paths = (str(self.store).encode(), str(self.work / "shadow").encode())
        faults.faults_arm(ctypes.c_long(self.point), *paths)
        getattr(self.campaign, self.action)(self.store, self.acknowledge)
        (self.work / "calls").write_text(str(faults.faults_calls()))

    def acknowledge(self) -> None:
        with (self.work / "acknowledged").open("ab", buffering=0) as file:
            file.write(b".")

    def look(self) -> None:
        acknowledged = self.work / "acknowledged"
        size = acknowledged.stat().st_size if acknowledged.exists() else 0
        self.campaign.check(self.action, self.store, size)

    def look_before_it_is_opened(self) -> None:
        faults = list(check_store(self.campaign.address(self.store)))
        assert not faults, faults
        self.look()

    def run(self, base: Path) -> tuple[bool, list[str]]:
        """Kill the writer, and look; returns whether it was killed, and what does not hold."""
        shutil.copytree(base, self.store)
        (shadow := self.work / "shadow").mkdir()
        start = contents(self.store)
        for place, name in enumerate(start[0]):
            os.link(name, shadow / f"{place}.before")  # No other file gets its number.
        killed, error = in_child(self.write)
        errors = [f"written: {error}"] if error else []
        after = {
            kind: after_power_loss(self.store, shadow, start, all_names=kind == "names")
            for kind in ("flushed", "names")
        }
        if error := in_child(self.look_before_it_is_opened)[1]:
            errors.append(f"killed: {error}")
        for kind, files in after.items():
            shutil.rmtree(self.store)
            for name, content in files.items():
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_bytes(content)
            if error := in_child(self.look)[1]:
                errors.append(f"{kind}: {error}")
        return killed, errors


def run(root: Path, engine: str, seed: int, kills: int) -> dict[str, int]:
    """Kill writers; returns how many of each action, and raises what does not hold."""
    chance, campaign = random.Random(seed), Campaign(root, engine)
    done, failures = dict[str, int](), 0
    for action in ACTIONS:
        base, calls = root / f"base-{action}", 0
        make = campaign.make_old if action == "upgrade" else campaign.make
        assert in_child(partial(make, base)) == (False, "")
        done[action] = 0
        for number in range(kills + 1):
            # Nobody is killed the first time: the calls are counted.
            point = chance.randrange(1, calls + 1) if number else 0
            trial = Trial(campaign, action, root / f"{action}-{number}", point)
            killed, errors = trial.run(base)
            done[action] += killed
            for error in errors:
                print(f"{action} at call {point}, {error}", file=sys.stderr)
                failures += 1
            if not number:
                calls = int((trial.work / "calls").read_text())
            if not errors:
                shutil.rmtree(trial.work)
    assert not failures, failures
    return done


if __name__ == "__main__":
    # Forked processes need not import what takes seconds.
    needed = ["activeindex.activation.results", "activeindex.stores.faiss.generation"]
    if sys.argv[2] == "lance://":
        needed += ["activeindex.stores.lance.generation", "lance.optimize", "pyarrow.parquet"]
    for module in needed:
        import_module(module)
    print(json.dumps(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
