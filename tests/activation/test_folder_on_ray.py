"""Activation by Ray workers: the files of this process, byte for byte."""

from pathlib import Path

import pytest
from PIL import Image

from activeindex.activation.folder import activate_folder
from activeindex.activation.settings import AS_PNG, PAPER, Preset
from activeindex.extractors.base import Extractor
from activeindex.images.levels import Pixels
from activeindex.indexing.quantiser import Quantiser
from activeindex.runtime.ray_workers import RayWorkers
from tests.cli.collection import contents
from tests.runtime.ray_cluster import Cluster, Killer, one_thread
from tests.runtime.reporters import Showing

FEW = Preset(PAPER.replace(iterations=2), AS_PNG)


@pytest.fixture(scope="module")
def pieces(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("to_release")
    for number in range(10):
        pixels = list(photographs.values())[number % len(photographs)]
        piece = pixels[10 * number : 10 * number + 60, 50 : 110 + number]
        Image.fromarray(piece).save(root / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def expected(
    pieces: Path,
    small_sscd: Extractor,
    quantiser: Quantiser,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("released")
    with one_thread():
        activate_folder(pieces, out, quantiser, small_sscd, preset=FEW, seed=3)
    return contents(out)


def test_with_a_worker_killed_midway_images_and_records_are_those_of_this_process(
    ray_cluster: Cluster,
    ray_two: RayWorkers,
    pieces: Path,
    expected: dict[str, bytes],
    small_sscd: Extractor,
    quantiser: Quantiser,
    tmp_path: Path,
) -> None:
    killer = Killer(ray_cluster, after=3)
    activate_folder(
        pieces,
        tmp_path,
        quantiser,
        small_sscd,
        preset=FEW,
        seed=3,
        workers=ray_two,
        reporter=Showing(killer),
    )
    assert len(killer.killed) == 1
    assert killer.done == 10
    assert contents(tmp_path) == expected
