"""``--engine``: the same files in this process, by Ray here, and on a cluster that is running."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from activeindex.images.levels import Pixels
from tests.cli.collection import command, contents, environment, python
from tests.cli.conftest import Answer
from tests.cli.test_killed import commits
from tests.runtime.ray_cluster import Cluster, descendants

COUNT = 12

VICTIM = """
import os, runpy, signal, sys
from activeindex.runtime.journal import Journal

commit, steps = Journal.commit, []

def kill_at_the_second(journal, step):
    commit(journal, step)
    steps.append(step)
    if len(steps) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.commit = kill_at_the_second
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def images(
    photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Parts of photographs; commands have one thread, so that features are the same to the bit."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        pixels = list(photographs.values())[number % len(photographs)]
        piece = Image.fromarray(pixels[10 * number : 10 * number + 80, 50 : 150 + number])
        piece.save(folder / f"{number:02d}.jpg", quality=92)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


def extraction(images: Path, *more: object) -> list[str]:
    return [
        *("-m", "activeindex.extract_fts", "--data_dir", str(images), "--output_dir", "fts"),
        *("--resize_size", "64", "--batch_size", "2", "--workers", "0", *map(str, more)),
    ]


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("here")
    python(*extraction(images), cwd=root)
    return contents(root / "fts")


def test_a_command_joins_a_running_cluster_and_leaves_it_running(
    ray_cluster: Cluster, images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    arguments = extraction(images, "--engine", "ray", "--address", ray_cluster.address)
    done = python(*arguments, cwd=tmp_path)
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.startswith("ray: ")] == [
        "ray: workers with 1 CPU each, 2 at most"
    ]
    assert contents(tmp_path / "fts") == expected
    below = descendants(ray_cluster.pid).values()
    assert [Path(name).name for name in below].count("raylet") == 1


def test_a_killed_command_goes_on_in_this_process(
    images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    # Ray may finish all batches before the first is written: only the command itself is in time.
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command("-c", VICTIM, *extraction(images, "--engine", "ray")[1:]),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            assert process.wait(240) == -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        said.seek(0)
        assert said.read() == ""
    assert commits(tmp_path / "fts" / ".fts.journal") == 2
    python(*extraction(images), cwd=tmp_path)
    assert contents(tmp_path / "fts") == expected


def test_an_address_without_a_cluster_is_told_on_one_line(
    images: Path, say: Callable[..., Answer]
) -> None:
    _, _, *options = extraction(images, "--engine", "ray", "--address", "127.0.0.1:1")
    answer = say("extract_fts", *options)
    lines = answer.err.splitlines()
    assert (answer.code, len(lines)) == (2, 1)
    assert "address 127.0.0.1:1: expected a running Ray cluster" in lines[0]


def test_without_ray_the_error_says_what_to_install(
    images: Path, say: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ("--data_dir", images, "--output_dir", "fts", "--engine", "ray")
    answer = say("extract_fts", *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "activeindex extract_fts: error: --engine ray needs the package ray, which is not "
        'installed: pip install "activeindex[ray]"\n'
    )


@pytest.mark.parametrize("option", ["--address", "--ray_workers", "--worker_cpus"])
def test_options_of_ray_are_refused_in_this_process(
    images: Path, say: Callable[..., Answer], option: str
) -> None:
    answer = say("extract_fts", "--data_dir", images, "--output_dir", "fts", option, "1")
    assert answer.code == 2
    assert f"error: {option[2:]}: expected --engine ray with it" in answer.err


def test_this_process_needs_no_ray(
    images: Path, say: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ("--data_dir", images, "--output_dir", "fts", "--resize_size", "64")
    answer = say("extract_fts", *options, "--workers", "0")
    assert (answer.code, answer.err) == (0, "")
