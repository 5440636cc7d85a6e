"""A real server process on a free port of this machine, and clients of it."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.photographs import PROTECTED, find_photograph


@dataclass
class Server:
    """A server process of a store."""

    store: Path
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[str]" = field(init=False)
    url: str = field(init=False)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "activeindex", "serve", str(self.store), "--port", "0"),
                *("--workers", "1", *self.options),
            ],
            stdout=subprocess.PIPE,
            stderr=(self.store.parent / "log").open("a"),
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r"http://\S+", line):
                self.url = found[0]
                return
        raise AssertionError((self.store.parent / "log").read_text()[-2000:])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def client(self, key: str | None, **headers: str) -> httpx.Client:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=120.0)


def activeindex(*arguments: object, code: int = 0) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "activeindex", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def new_key(store: Path, scopes: str = "search,register,remove", *more: str) -> str:
    made = activeindex("keys", "create", "--store", store, "--scopes", scopes, *more)
    return made.strip()


def picture(number: int, side: int = 128, form: str = "PNG") -> bytes:
    """A cut of a photograph, another one for each number."""
    name = PROTECTED[number % len(PROTECTED)]
    with Image.open(find_photograph(name)) as image:
        shift = 24 * (number // len(PROTECTED))
        cut = image.convert("RGB").resize((side + 64, side + 64))
        cut = cut.crop((shift, 0, shift + side, side))
    file = BytesIO()
    cut.save(file, form)
    return file.getvalue()


def edited(data: bytes) -> bytes:
    """A copy as others publish it: smaller, as JPEG."""
    file = BytesIO()
    with Image.open(BytesIO(data)) as image:
        small = image.convert("RGB").resize((image.width * 3 // 4, image.height * 3 // 4))
        small.save(file, "JPEG", quality=70)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("service") / "store")
    new_key(made.store)  # The first start makes the store, and finds the key.
    made.start()
    yield made
    with contextlib.suppress(ProcessLookupError):
        made.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client(new_key(server.store), Prefer="wait=60") as made:
        yield made


Register = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def register(client: httpx.Client) -> Register:
    """Registers a picture by number."""

    def post(number: int, name: str | None = None, **fields: object) -> httpx.Response:
        headers = fields.pop("headers", None)
        name = name or f"{number}.png"
        return client.post(
            "/v1/images",
            files={"file": (name, picture(number))},
            data={"preset": "fast", **fields},
            headers=headers,  # type: ignore[arg-type]
        )

    return post
