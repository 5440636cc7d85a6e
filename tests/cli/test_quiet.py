"""What commands print while they work, and where they are silent."""

import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

from activeindex.cli import run
from tests.cli.collection import (
    FACTORY,
    SIZE,
    Prepared,
    command,
    environment,
    python,
)
from tests.cli.conftest import Answer


def extraction(folder: Path) -> list[str]:
    return [
        *("-m", "activeindex.extract_fts", "--data_dir", str(folder), "--output_dir", "fts"),
        *("--resize_size", str(SIZE), "--workers", "0", "--batch_size", "8"),
    ]


def seen_on_a_terminal(arguments: list[str], cwd: Path, columns: int = 100) -> str:
    """What appears when standard error is a terminal."""
    terminal, side = pty.openpty()
    termios.tcsetwinsize(side, (40, columns))
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=side
    )
    os.close(side)
    text = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:  # How Linux says that the other side is closed.
            break
        if not read:
            break
        text += read
    os.close(terminal)
    assert process.wait(120) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())


def test_terminal_shows_a_bar_with_rate_and_time_left(prepared: Prepared, tmp_path: Path) -> None:
    text = seen_on_a_terminal(extraction(prepared.root / "disc" / "references"), tmp_path)
    assert "features" in text
    assert re.search(r"\d+/40 \[\d+:\d+<\d+:\d+, [\d.]+ image/s", text), text


FIGURES = r"loss=-\d[^ ]*, psnr=\d[^ ]*, img/s=\d"


def test_terminal_shows_loss_psnr_and_rate_of_activation(
    prepared: Prepared, tmp_path: Path
) -> None:
    index = str(tmp_path / "index")
    train = ["train_index", index, "--fts_training_path", str(prepared.training)]
    assert run([*train, "--idx_factory", FACTORY]) == 0
    activate = ["-m", "activeindex", "activate", str(prepared.images), "out", "--index", index]
    text = seen_on_a_terminal(
        [*activate, "--resize_size", str(SIZE), "--workers", "0", "--iterations", "2"], tmp_path, 80
    )
    bars = [line for line in text.split("\r") if line.startswith("activate")]
    assert re.search(rf"4/4 .*{FIGURES}", bars[-1]), text


def test_terminal_shows_loss_psnr_and_rate_of_an_active_run(
    prepared: Prepared, tmp_path: Path
) -> None:
    options = prepared.main_options(
        iterations=2, eval_retrieval=False, query_nonmatch_dir=None, save_imgs=False
    )
    text = seen_on_a_terminal(["-m", "activeindex.main", *options], tmp_path, 80)
    bars = [line for line in text.split("\r") if line.startswith("active run")]
    assert re.search(rf"4/4 .*{FIGURES}", bars[-1]), text


def test_verbose_0_says_nothing_even_on_a_terminal(prepared: Prepared, tmp_path: Path) -> None:
    text = seen_on_a_terminal([*extraction(prepared.images), "--verbose", "0"], tmp_path)
    assert text == ""


def test_pipe_gets_a_line_per_stage_begun_and_ended_and_no_bar(
    prepared: Prepared, tmp_path: Path
) -> None:
    done = python(*extraction(prepared.images), cwd=tmp_path)
    assert done.stderr == ""
    assert "\r" not in done.stdout
    first, begun, ended, last = done.stdout.splitlines()
    assert first.startswith("4 images, extractor ")
    assert begun == "features: begun, 0 of 4"
    assert re.fullmatch(r"features: ended, 4 of 4, \d+ s", ended)
    assert "fts.pt: 4 features" in last


def test_one_picture_is_one_image(
    prepared: Prepared, say: Callable[..., Answer], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(next(path for path in sorted(prepared.images.iterdir())), alone)
    answer = say("extract_fts", "--data_dir", alone, "--output_dir", "fts", "--resize_size", "64")
    first, *_, last = answer.out.splitlines()
    assert first.startswith("1 image, extractor ")
    assert "fts.pt: 1 feature of dimension" in last


def test_verbose_0_prints_nothing(prepared: Prepared, say: Callable[..., Answer]) -> None:
    options = prepared.main_options(active=False, save_imgs=False, eval_icd=False, verbose=0)
    answer = say("main", *options)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
