"""Features by Ray workers: the files of this process, byte for byte, whatever happens."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activeindex.extractors.base import Extractor
from activeindex.extractors.features import Extraction, extract_folder
from activeindex.images.levels import Pixels
from activeindex.runtime.ray_workers import RayWorkers
from activeindex.runtime.reporting import Progress
from tests.cli.collection import contents
from tests.runtime.ray_cluster import Cluster, Killer, one_thread
from tests.runtime.reporters import Showing

COUNT = 40
BATCH = 4


class Stop(Progress):
    """Ctrl-C after the first batch."""

    def advance(self, items: int = 1, **figures: float | str) -> None:
        if items:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def pieces(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty parts of photographs in two folders, one of them cut short."""
    root = tmp_path_factory.mktemp("pieces")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = list(photographs.values())[number % len(photographs)]
        top, left = generator.integers(200, size=2)
        path = root / ("a" if number % 3 else "b") / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        piece = Image.fromarray(pixels[top : top + 90, left : left + 80 + number])
        piece.save(path, quality=92)
        if number == 17:
            path.write_bytes(path.read_bytes()[:300])
    return root


@pytest.fixture(scope="module")
def here(pieces: Path, small_sscd: Extractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this process makes of them."""
    out = tmp_path_factory.mktemp("here")
    with one_thread():
        extract_folder(small_sscd, pieces, out, batch_size=BATCH, unreadable="skip")
    return out


@pytest.fixture(scope="module")
def there(
    ray_cluster: Cluster,
    ray_two: RayWorkers,
    pieces: Path,
    small_sscd: Extractor,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Killer, Extraction]:
    """What workers make of them: begun here, stopped, gone on there, where a worker is killed."""
    out, killer = tmp_path_factory.mktemp("there"), Killer(ray_cluster, 3 * BATCH)
    with one_thread(), pytest.raises(KeyboardInterrupt):
        extract_folder(
            small_sscd, pieces, out, batch_size=BATCH, unreadable="skip", reporter=Showing(Stop())
        )
    assert (out / ".fts.journal").read_bytes().count(b"\n") == 2
    done = extract_folder(
        small_sscd,
        pieces,
        out,
        batch_size=BATCH,
        unreadable="skip",
        workers=ray_two,
        reporter=Showing(killer),
    )
    return out, killer, done


def test_a_killed_worker_and_a_change_of_engine_change_no_byte(
    here: Path, there: tuple[Path, Killer, Extraction]
) -> None:
    out, killer, _ = there
    assert len(killer.killed) == 1
    assert contents(out) == contents(here)


def test_every_image_is_counted_once(there: tuple[Path, Killer, Extraction]) -> None:
    _, killer, done = there
    assert killer.done == COUNT
    assert done.count == COUNT - 1
    names = done.filenames.read_text().splitlines()
    assert len(set(names)) == len(names) == COUNT - 1


def test_the_broken_file_is_named(there: tuple[Path, Killer, Extraction]) -> None:
    skipped = there[2].skipped
    assert len(skipped) == 1
    assert "17.jpg" in skipped[0]
