"""A service whose disk is full says so, and goes on once there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import Server, new_key, picture


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 120 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)], check=False
    )
    if os.geteuid() or mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_507_and_room_mends_it(disk: Path) -> None:
    server = Server(disk / "store")
    key = new_key(server.store)
    server.start()
    try:
        with server.client(key, Prefer="wait=60") as client:

            def register(number: int) -> int:
                files = {"file": (f"{number}.png", picture(number, 64))}
                fields = {"preset": "fast"}
                return client.post("/v1/images", files=files, data=fields).status_code

            assert register(0) == 201
            (disk / "filler").write_bytes(bytes(90_000_000))
            assert register(1) == 507
            assert client.get("/readyz").status_code == 503
            assert client.post("/v1/search", files={"file": picture(0, 64)}).status_code == 200
            (disk / "filler").unlink()
            assert client.get("/readyz").status_code == 200
            assert register(1) == 201
    finally:
        server.stop()
