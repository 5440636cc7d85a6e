"""What tests of the Ray engine share: a cluster on this machine, and its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from activeindex.runtime.reporting import Progress

CPUS = 2

_PATIENCE = 300.0
"""Seconds that a cluster may take to start on a busy machine."""

_TRIES = 3


@dataclass(frozen=True)
class Cluster:
    """A running cluster: how to join it, and the process that all of its processes are below."""

    address: str
    pid: int


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster of one machine, as ``ray start --head`` makes it.

    Its folder has a short name, since the names of sockets in it are limited.
    """
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        port, process = _start(Path(folder))
        try:
            yield Cluster(f"127.0.0.1:{port}", process.pid)
        finally:
            _stop(process)


def _start(folder: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """Ray gives up after 30 s by itself."""
    said = folder / "said"
    for _ in range(_TRIES):
        port, client = _free_ports()
        with said.open("wb") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                    *("--node-ip-address", "127.0.0.1", "--port", str(port)),
                    *("--ray-client-server-port", str(client), "--num-cpus", str(CPUS)),
                    *("--object-store-memory", str(200 << 20), "--temp-dir", str(folder / "ray")),
                    *("--include-dashboard", "false", "--disable-usage-stats"),
                ],
                # Ray asks for a token by itself once a local cluster has made one.
                env={**os.environ, "RAY_AUTH_MODE": "disabled"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if b"Ray runtime started" in said.read_bytes():
                return port, process
            time.sleep(0.1)
        _stop(process)
    raise AssertionError(f"no Ray cluster after {_TRIES} tries: {said.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    below = descendants(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    for pid in (process.pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, and how they are called."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_text().split("\0")[0]
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        above = waiting.pop()
        for child in (child for child, parent in parents.items() if parent == above):
            found[child] = names.get(child, "")
            waiting.append(child)
    return found


def mapping_workers(cluster: Cluster) -> list[int]:
    """The processes of a cluster that map a dataset, the newest last."""
    below = descendants(cluster.pid).items()
    return sorted(pid for pid, name in below if name.startswith("ray::MapWorker"))


class Killer(Progress):
    """Progress that kills a worker of a cluster, really, when some items are done."""

    def __init__(self, cluster: Cluster, after: int) -> None:
        self.cluster = cluster
        self.after = after
        self.done = 0
        self.killed: list[int] = []

    def advance(self, items: int = 1, **figures: float) -> None:
        self.done += items
        if self.done >= self.after and not self.killed:
            self.killed = mapping_workers(self.cluster)[-1:]
            os.kill(self.killed[0], signal.SIGKILL)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch as it is in a worker with one CPU: the last bits of features depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fails what takes longer: a cluster that stands still would hold up all other tests."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the tests of a cluster took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
