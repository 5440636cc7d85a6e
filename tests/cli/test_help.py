"""``--help``: what a newcomer reads first."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from activeindex import __version__
from activeindex.cli import COMMANDS
from tests.cli.collection import python
from tests.cli.conftest import Answer

MAIN_DEFAULTS = {
    "output_dir": "output",
    "verbose": "1",
    "seed": "0",
    "fts_training_path": None,
    "fts_reference_path": None,
    "data_dir": None,
    "query_nonmatch_dir": None,
    "batch_size": "16",
    "batch_size_eval": "128",
    "resize_size": "288",
    "model_name": "torchscript",
    "model_path": None,
    "use_attenuation": "True",
    "scale_channels": "True",
    "use_attacks_2": "False",
    "eval_icd": "True",
    "save_imgs": "True",
    "debug": "False",
    "idx_dir": "indexes",
    "idx_factory": "IVF4096,PQ8x8",
    "quant": "L2",
    "nprobe": "1",
    "kneighbors": "100",
    "iterations": "10",
    "optimizer": "Adam,lr=1e-0",
    "scheduler": None,
    "target": "pq_recons",
    "loss_f": "cossim",
    "lambda_f": "1.0",
    "lambda_i": "0.01",
    "scaling": "3.0",
    "use_tanh": "True",
    "eval_retrieval": "True",
    "active": "True",
    "log_freq": "11",
}
EXTRACT_DEFAULTS = {
    "output_dir": None,
    "data_dir": None,
    "model_name": "torchscript",
    "model_path": None,
    "resize_size": "288",
    "batch_size": "256",
}
PREPARE_DEFAULTS = {
    "data_dir": None,
    "data_path": None,
    "output_dir": None,
    "num_queries": "40000",
    "seed": "0",
}
"""The options of the seed and their defaults."""


def entries(text: str) -> dict[str, str]:
    """The help of each option, on one line, by its spellings."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n  (?=-)", text)[1:]:
        paragraph = re.split(r"\n\n|\n\w", entry)[0]
        line = " ".join(paragraph.split())
        for name in re.findall(r"--(\w+)", line.split("  ")[0]):
            found.setdefault(name, line)
    return found


@pytest.mark.parametrize(
    ("command", "option", "default"),
    [
        (command, option, default)
        for command, options in (
            ("main", MAIN_DEFAULTS),
            ("extract_fts", EXTRACT_DEFAULTS),
            ("prepare_disc", PREPARE_DEFAULTS),
        )
        for option, default in options.items()
    ],
)
def test_help_lists_the_seeds_options_with_their_defaults(
    say: Callable[..., Answer], command: str, option: str, default: str | None
) -> None:
    answer = say(command, "--help")
    assert answer.code == 0
    line = entries(answer.out)[option]
    if default is not None:
        assert f"(default: {default})" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_is_explained_in_100_columns(
    say: Callable[..., Answer], command: str
) -> None:
    answer = say(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"usage: activeindex {command}")
    for option, line in entries(answer.out).items():
        assert len(line.split()) > 2, f"--{option} is not explained"


def test_help_names_every_command(say: Callable[..., Answer]) -> None:
    answer = say("--help")
    assert (answer.code, answer.err) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^ +{command}  +\w.*$", answer.out, re.MULTILINE), command
    assert max(map(len, answer.out.splitlines())) <= 100


def test_version_is_shown(say: Callable[..., Answer]) -> None:
    assert say("--version").out == f"activeindex {__version__}\n"


SLOW = {"torch", "faiss", "onnx", "PIL", "numpy", "kornia", "multiprocessing", "ray", "pyarrow"}
"""What takes longer to import than all that a command needs to print its help."""


def test_help_and_usage_errors_answer_without_the_slow_imports(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from activeindex.cli import COMMANDS, run\n"
        "asked = [['--help'], ['--version'], ['nothing'], []]\n"
        "asked += [[name, option] for name in COMMANDS for option in ('--help', '--nothing')]\n"
        "for arguments in asked:\n"
        "    try:\n"
        "        run(arguments)\n"
        "    except SystemExit:\n"
        "        pass\n"
        f"    print('slow:', arguments, *sorted({SLOW!r} & set(sys.modules)))\n"
    )
    done = python("-c", program, cwd=tmp_path)
    answers = [line for line in done.stdout.splitlines() if line.startswith("slow:")]
    assert len(answers) == 4 + 2 * len(COMMANDS)
    assert [line for line in answers if not line.endswith("]")] == []


@pytest.mark.parametrize(
    "options",
    [
        ["main", "--data_dir", "none", "--fts_training_path", "a", "--fts_reference_path", "b"],
        ["extract_fts", "--data_dir", "none", "--output_dir", "out"],
        ["activate", "none", "out", "--index", "index"],
        ["train_index", "out", "--fts_training_path", "none"],
        ["whiten", "out", "--fts_training_path", "none"],
        ["table", "none"],
    ],
    ids=lambda options: options[0],
)
def test_a_mistyped_path_is_told_without_the_slow_imports(
    tmp_path: Path, options: list[str]
) -> None:
    program = (
        "import sys\n"
        "from activeindex.cli import run\n"
        f"code = run({options!r})\n"
        f"print(code, *sorted({SLOW!r} & set(sys.modules)))\n"
    )
    done = python("-c", program, cwd=tmp_path)
    assert done.stdout == "2\n"
    assert re.fullmatch(r"activeindex .*: error: .*none: expected .*, found nothing\n", done.stderr)


@pytest.mark.parametrize("name", ["prepare_disc", "extract_fts", "main"])
def test_module_and_console_command_have_the_same_options(
    say: Callable[..., Answer], tmp_path: Path, name: str
) -> None:
    module = python("-m", f"activeindex.{name}", "--help", cwd=tmp_path).stdout
    console = say(name, "--help").out
    assert module.startswith(f"usage: python -m activeindex.{name}")
    assert entries(module).keys() == entries(console).keys()


def test_python_m_activeindex_is_the_console_command(tmp_path: Path) -> None:
    done = python("-m", "activeindex", "extract-fts", "--help", cwd=tmp_path)
    assert done.stdout.startswith("usage: activeindex extract-fts")
