"""``activeindex register`` and ``search``: two commands from one's own pictures to their copies."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import activeindex as ai
from tests.cli.collection import photographs
from tests.cli.conftest import Answer
from tests.photographs import PROTECTED

Say = Callable[..., Answer]
QUICK = ("--preset", "fast", "--iterations", 1, "--workers", 0)


def write_pictures(folder: Path, count: int) -> None:
    names = [f"{Path(name).stem}.jpg" for name in PROTECTED[:count]]
    folder.mkdir()
    for name, photograph in zip(names, photographs(PROTECTED[:count]), strict=True):
        photograph.thumbnail((128, 128))
        photograph.save(folder / name, quality=95)


def test_a_cropped_screenshot_is_found_with_two_commands_and_no_option(
    say: Say, tmp_path: Path
) -> None:
    count = 12 if os.environ.get("ACTIVEINDEX_LONG") else 4
    write_pictures(tmp_path / "PICTURES", count)
    answer = say("register", "PICTURES", "--store", "STORE")
    assert (answer.code, answer.err) == (0, "")
    assert re.search(rf"STORE: {count} pictures registered, in \d+\.\d s\n", answer.out)
    assert "publish the pictures in PICTURES_released\n" in answer.out
    assert answer.out.endswith("find their copies: activeindex search --store STORE SUSPECTS\n")

    released = Image.open(tmp_path / "PICTURES_released" / "chelsea.png").convert("RGB")
    width, height = released.size
    cropped = released.crop((width // 10, 0, width, height * 9 // 10))
    screenshot = ai.Edit("overlay_onto_screenshot")(cropped, np.random.default_rng(0)).image
    (tmp_path / "SUSPECTS").mkdir()
    screenshot.save(tmp_path / "SUSPECTS" / "seen.jpg", quality=80)
    answer = say("search", "--store", "STORE", "SUSPECTS")
    assert answer.code == 0
    assert f"STORE: {count} images; extractor lite0_copy" in answer.out
    assert re.search(rf"; (\d+) of \1 lists, {count} codes\n", answer.out)
    line = r"seen\.jpg: a copy\n +1 +\d\.\d+  \S+ by chance  chelsea\.jpg  \(id "
    assert re.search(line, answer.out)


def test_what_is_left_out_is_named_with_exit_code_1_or_2(say: Say, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_bytes(b"no picture")
    first = say("register", "in", "--store", "S", "--released", "out", *QUICK)
    assert (first.code, first.err.count("\n")) == (1, 1)
    assert "1 of 3 files" in first.err
    assert "broken.jpg" in first.err
    assert "S: 2 pictures registered, 1 left out, in " in first.out
    assert "1 file without the name of an image left out: notes.txt" in first.out
    (tmp_path / "in" / "broken.jpg").unlink()
    again = say("register", "in", "--store", "S", "--released", "out", *QUICK)
    assert (again.code, again.err) == (0, "")
    assert "S: 0 pictures registered, 2 registered before, in " in again.out
    shutil.rmtree(tmp_path / "in")
    write_pictures(tmp_path / "in", 1)
    one = next((tmp_path / "in").iterdir())
    Image.new("RGB", (64, 64), "red").save(one)
    other = say("register", "in", "--store", "S", "--released", "out", *QUICK)
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert f"{one.relative_to(tmp_path)}: expected the picture that the store has" in other.err


def test_another_extractor_and_missing_pictures_are_refused_in_a_line(
    say: Say, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    for words, told in (
        (("register", "in", "--store", "S", "--resize_size", 96), "activeindex train_index"),
        (("activate", "in", "out", "--resize_size", 96), "activeindex train_index"),
        (("register", "empty", "--store", "S"), "expected images"),
        (("register", "in", "--store", "S", "--index", "nowhere"), "nowhere"),
        (("register", "in"), "--store"),
    ):
        answer = say(*words)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert told in answer.err
    assert not (tmp_path / "S").exists()
    described = " ".join(say("register", "--help").out.split())
    assert re.search(
        r"whose mean feature the code is taken of; [^(]+ \S+ \(default: 12\)", described
    )


def test_an_archive_that_is_published_already_is_registered_untouched(
    say: Say, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 2)
    answer = say("register", "in", "--store", "S", "--untouched", "--workers", 0)
    assert (answer.code, answer.err) == (0, "")
    assert "publish" not in answer.out
    assert not (tmp_path / "in_released").exists()
    assert "S: 2 images of lite0_copy" in say("store", "info", "S").out
    assert say("register", "in", "--store", "S", "--untouched", "--released", "out").code == 2
