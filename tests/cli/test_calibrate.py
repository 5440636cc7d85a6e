"""``activeindex calibrate``: a store whose searches say whether a hit is a copy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from activeindex.cli import run
from activeindex.decisions.calibration import CALIBRATION_FILE
from tests.cli.collection import FACTORY, SIZE, Prepared
from tests.cli.conftest import Answer

Say = Callable[..., Answer]
SMALL = ("--resize_size", str(SIZE), "--workers", "0")
BACKGROUND = 50


@pytest.fixture(scope="module")
def background(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training pictures; and of two stored ones, the file and an edited copy."""
    folder = tmp_path_factory.mktemp("background")
    for path in sorted((prepared.root / "disc" / "train").iterdir())[:BACKGROUND]:
        shutil.copy(path, folder)
    first, second = sorted((prepared.root / "disc" / "references_990k").iterdir())[:2]
    shutil.copy(first, folder / "same.jpg")
    Image.open(second).save(folder / "again.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def filled(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled")
    training = ("--fts_training_path", prepared.training)
    stored = prepared.root / "disc" / "references_990k"
    for command in (
        ("train_index", root / "index", "--idx_factory", FACTORY, *training, "--verbose", 0),
        ("store", "create", root / "store", "--index", root / "index"),
        ("store", "add", root / "store", prepared.references, "--data_dir", stored),
    ):
        assert run([*map(str, command)]) == 0
    return root / "store"


@pytest.fixture(scope="module")
def calibrated(filled: Path, background: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("calibrated") / "store"
    shutil.copytree(filled, store)
    assert run(["calibrate", str(store), "--background", str(background), *SMALL]) == 0
    return store


def suspects(prepared: Prepared, background: Path, folder: Path) -> Path:
    """A copy of a stored picture, smaller and brighter; and a picture that is not stored."""
    folder.mkdir()
    stored = sorted((prepared.root / "disc" / "references_990k").iterdir())[3]
    picture = Image.open(stored)
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(folder / "copy.jpg")
    foreign = sorted((prepared.root / "disc" / "train").iterdir())[BACKGROUND + 1]
    shutil.copy(foreign, folder / "foreign.jpg")
    return folder


def test_a_store_says_that_it_is_not_calibrated(
    say: Say, filled: Path, prepared: Prepared, background: Path, tmp_path: Path
) -> None:
    folder = suspects(prepared, background, tmp_path / "suspects")
    answer = say("search", folder, "--store", filled, "--json", *SMALL)
    assert answer.code == 0
    assert answer.err.splitlines() == [
        f"activeindex search: {filled} is not calibrated, so nothing says whether a hit is a copy: "
        f"activeindex calibrate {filled} --background FOLDER"
    ]
    for line in map(json.loads, answer.out.splitlines()):
        assert line["decision"] is None
        assert line["matches"][0]["expected_false_matches"] is None
        assert line["searched"] == {"lists": 4, "of": 4, "codes": 36}


def test_pictures_of_the_background_that_are_stored_are_left_out_and_named(
    say: Say, filled: Path, background: Path, tmp_path: Path
) -> None:
    shutil.copytree(filled, tmp_path / "store")
    answer = say("calibrate", tmp_path / "store", "--background", background, *SMALL)
    assert (answer.code, answer.err) == (0, "")
    assert (
        "2 background pictures left out, as copies of stored ones: same.jpg, again.jpg"
        in answer.out
    )
    assert "250 edited queries and 25 other pictures: expected false matches below " in answer.out


def test_a_search_decides(
    say: Say, calibrated: Path, prepared: Prepared, background: Path, tmp_path: Path
) -> None:
    folder = suspects(prepared, background, tmp_path / "suspects")
    bounds = ("--match", 0.4, "--review", 0.5)  # So small a background proves little.
    answer = say("search", folder, "--store", calibrated, "--json", *bounds, *SMALL)
    assert (answer.code, answer.err) == (0, "")
    copy, foreign = map(json.loads, answer.out.splitlines())
    assert (copy["decision"], foreign["decision"]) == ("match", "none")
    nearest = copy["matches"][0]
    assert nearest["name"] == copy["neighbours"][0]["name"] == "R000004.jpg"
    assert 0 < nearest["expected_false_matches"] <= 0.4
    scores = [match["score"] for match in copy["matches"]]
    assert scores == sorted(scores, reverse=True)
    expected = [match["expected_false_matches"] for match in foreign["matches"]]
    assert expected == sorted(expected)
    lines = say("search", folder, "--store", calibrated, "--k", 1, *bounds, *SMALL).out.splitlines()
    assert f"{folder / 'copy.jpg'}: a copy" in lines
    assert f"{folder / 'foreign.jpg'}: no copy" in lines
    strict = ("--match", "1e-13", "--review", "0.5", "--refine", 2)
    answer = say("search", folder / "copy.jpg", "--store", calibrated, "--json", *strict, *SMALL)
    assert json.loads(answer.out)["decision"] == "review"


def test_a_calibration_of_another_index_is_refused(
    say: Say, calibrated: Path, prepared: Prepared, tmp_path: Path
) -> None:
    training = ("--fts_training_path", prepared.training, "--verbose", 0)
    assert say("train_index", "other", "--idx_factory", "PQ4x8np", *training).code == 0
    assert say("store", "create", "store", "--index", "other").code == 0
    ours = next(calibrated.rglob(CALIBRATION_FILE))
    theirs = tmp_path / "store" / ours.relative_to(calibrated)
    shutil.copy(ours, theirs)
    answer = say(
        "search",
        sorted((prepared.root / "disc" / "train").iterdir())[0],
        "--store",
        "store",
        *SMALL,
    )
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"{CALIBRATION_FILE}: expected a calibration of PQ4x8np L2 (" in answer.err
    assert "; calibrate again" in answer.err


def test_what_cannot_be_calibrated_is_told_on_one_line(
    say: Say, filled: Path, background: Path, prepared: Prepared, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(background.iterdir())[:5]:
        shutil.copy(path, few)
    (tmp_path / "none").mkdir()
    for folder, message in (
        (few, "expected 40 pictures or more that are not in the store, found"),
        (tmp_path / "none", "found none"),
        (tmp_path / "nothing", "found nothing"),
    ):
        answer = say("calibrate", filled, "--background", folder, *SMALL)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
        assert message in answer.err
    training = ("--fts_training_path", prepared.training, "--verbose", 0)
    assert say("train_index", "index", "--idx_factory", FACTORY, *training).code == 0
    assert say("store", "create", "empty", "--index", "index").code == 0
    answer = say("calibrate", "empty", "--background", background, *SMALL)
    assert (answer.code, answer.err) == (
        2,
        "activeindex calibrate: error: store: expected images, found none; calibrate once there "
        "are some\n",
    )
    answer = say("search", few, "--store", filled, "--match", 2, *SMALL)
    assert answer.code == 2
    assert "match: expected 0 to the bound of review (1), found 2" in answer.err
