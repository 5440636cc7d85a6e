"""A server that is killed loses nothing that it acknowledged, and registers nothing twice."""

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from activeindex.stores.check import check_store
from tests.service.conftest import Server, new_key, picture

KILLS = 50 if os.environ.get("ACTIVEINDEX_LONG") == "1" else 3


def descendants(pid: int) -> list[int]:
    """Processes below one, those that were started first first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def test_kills_under_load_lose_nothing_and_register_nothing_twice(tmp_path: Path) -> None:
    server = Server(tmp_path / "store")
    key = new_key(server.store, "admin")
    acknowledged: dict[str, int] = {}
    accepted: list[str] = []
    drawn = random.Random(0)
    number = 0
    for turn in range(KILLS):
        server.start()
        ended = threading.Event()

        def post(first: int, ended: threading.Event = ended) -> None:
            with server.client(key) as client:
                for each in range(first, first + 40):
                    if ended.is_set():
                        return
                    wait = {"Prefer": f"wait={30 * (each % 2)}"}
                    try:
                        answer = client.post(
                            "/v1/images",
                            files={"file": (f"{each}.png", picture(each, 64))},
                            data={"preset": "fast", "allow_duplicate": True},
                            headers=wait,
                        )
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        acknowledged[f"{each}.png"] = answer.json()["id"]
                    elif answer.status_code == 202:
                        accepted.append(f"{each}.png")

        load = threading.Thread(target=post, args=(number,))
        load.start()
        number += 40
        time.sleep(drawn.uniform(2, 8))
        if turn % 3 == 2:  # A worker alone: the server goes on.
            for child in descendants(server.process.pid)[-1:]:
                os.kill(child, signal.SIGKILL)
            time.sleep(2)
        server.kill()
        ended.set()
        load.join()
    server.start()
    with server.client(key) as client:
        until = time.monotonic() + 300
        names: Counter[str] = Counter()
        while time.monotonic() < until:
            images = client.get("/v1/images", params={"limit": 1000}).json()["images"]
            names = Counter(image["name"] for image in images)
            if names.keys() >= {*acknowledged, *accepted}:
                break
            time.sleep(1)
        assert names.keys() >= {*acknowledged, *accepted}
        assert set(names.values()) <= {1}
        ids = {image["name"]: image["id"] for image in images}
        assert {name: ids[name] for name in acknowledged} == acknowledged
        for image in images[:5]:
            assert client.get(image["links"]["released"]).status_code == 200
    assert server.stop() == 0
    assert list(check_store(server.store, full=True)) == []
