from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from activeindex.cli import run
from tests.cli.collection import NON_MATCHING, SIZE, Prepared, make_disc, python


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The seed's first three commands, typed in the folder that holds ``disc/``."""
    root = tmp_path_factory.mktemp("prepared")
    make_disc(root / "disc")
    resize = ("--resize_size", str(SIZE))
    printed = {
        name: python("-m", f"activeindex.{name}", *options, cwd=root).stdout
        for name, options in (
            (
                "prepare_disc",
                (*("--data_path", "disc", "--output_dir", "disc"), f"--num_queries={NON_MATCHING}"),
            ),
            (
                "extract_fts",
                (
                    *("--model_name", "torchscript", "--data_dir", "disc/train"),
                    *("--output_dir", "fts_train", *resize),
                ),
            ),
        )
    }
    python(
        *("-m", "activeindex.extract_fts", "--data-dir", "disc/references_990k"),
        *("--output-dir", "fts_ref", "--resize-size", str(SIZE), "--workers", "0"),
        cwd=root,
    )
    return Prepared(root, printed)


@pytest.fixture(scope="session")
def runs(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A passive and an active run, and a passive one that only searched, in folders of odd names.

    The published list is short enough here; activation takes two steps, to be quick. The active
    run keeps its images and writes for TensorBoard.
    """
    root = tmp_path_factory.mktemp("runs")
    board = root / "board"
    for name, changes in (
        ("passive", {"active": False, "save_imgs": False}),
        ("active", {"iterations": 2, "tensorboard": board, "log_freq": 1}),
        ("k=5", {"active": False, "save_imgs": False, "kneighbors": 5, "eval_icd": False}),
    ):
        options = prepared.main_options(
            **{"verbose": 0, "output_dir": root / name, **changes}, idx_dir=root / "indexes"
        )
        assert run(["main", *options]) == 0
    return root


@dataclass(frozen=True)
class Answer:
    """What a command came to in this process."""

    code: int
    out: str
    err: str


@pytest.fixture
def say(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Runs ``activeindex …`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def answer(*arguments: object) -> Answer:
        try:
            code = run([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse, of its own usage errors and --help
            code = int(end.code or 0)
        return Answer(code, *capfd.readouterr())

    return answer
