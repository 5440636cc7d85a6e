"""Every name that the file system holds goes from the folder to the store and the search."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Answer
from tests.cli.test_power import make_inputs

NAMES = [
    "写" * 83 + ".jpg",
    os.fsdecode(b"caf\xe9.png"),
    'two\nlines, and "commas".png',
    "\ufeffmark.png",
    "\x1b[2J\x1b[31mred.png",
    '"quoted".png',
    "-dash.png",
]


def test_odd_names_are_released_stored_and_found_and_never_act_on_the_terminal(
    tmp_path: Path, say: Callable[..., Answer]
) -> None:
    make_inputs(tmp_path)
    folder = Path(os.fsdecode(b"f\xff"))
    folder.mkdir()
    for name in NAMES:
        shutil.copy(tmp_path / "in" / "0.png", folder / name)
    small = ("--resize_size", 64, "--workers", 0)
    quick = ("--iterations", 0, "--preset", "paper", "--force", "True")
    answers = [
        say("activate", folder, "out", "--index", "index", *quick, *small),
        say("store", "create", "faiss:s", "--index", "index"),
        say("store", "add", "faiss:s", "out", "--force"),
        say("search", "--store", "faiss:s", *small, "--k", 1, folder),
        say("store", "get", "faiss:s", *NAMES[:-1], "--ids", 0),
    ]
    assert [answer.code for answer in answers] == [0] * len(answers), answers
    released = [os.fsencode(path.name) for path in Path("out").glob("*.png")]
    assert sorted(released) == sorted(os.fsencode(Path(name).stem) + b".png" for name in NAMES)
    for answer in answers:
        assert not any(character in answer.out + answer.err for character in "\x1b\ufeff")
    names = [json.loads(line)["name"] for line in answers[-1].out.splitlines()]
    assert '"two\\nlines, and \\"commas\\".png"' in names
    lines = Path("out/filenames.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line) if line.startswith('"') else line for line in lines) == sorted(
        NAMES
    )


def test_names_that_lead_out_of_the_folder_are_refused(
    tmp_path: Path, say: Callable[..., Answer]
) -> None:
    make_inputs(tmp_path)
    assert say("store", "create", "faiss:s", "--index", "index").code == 0
    for name in ("../in/0.png", str(tmp_path / "in" / "0.png")):
        Path("names.txt").write_text(f"{name}\n" * 1 + "".join(f"{n}\n" for n in range(299)))
        added = say(
            *("store", "add", "faiss:s", "fts.npy", "--names", "names.txt", "--force"),
            *("--data_dir", "in"),
        )
        assert added.code == 2
        assert added.err.endswith(f"names: expected a name within the folder in, found {name!r}\n")
