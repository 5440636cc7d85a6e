"""``activeindex activate``: for people who release pictures and run no experiment."""

import json
import shutil
from collections.abc import Callable
from math import inf
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

import activeindex as ai
from activeindex.activation.records import read_records
from activeindex.cli import run
from tests.cli.collection import FACTORY, SIZE, Prepared, contents
from tests.cli.conftest import Answer


@pytest.fixture(scope="module")
def index(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index trained on the training features, as a folder."""
    path = tmp_path_factory.mktemp("index") / "trained"
    options = ["--fts_training_path", str(prepared.training), "--idx_factory", FACTORY]
    assert run(["train_index", str(path), *options, "--verbose", "0"]) == 0
    return path


@pytest.fixture(scope="module")
def album(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in subfolders and two formats."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "summer").mkdir()
    first, second, third = sorted(prepared.images.iterdir())[:3]
    shutil.copy(first, folder / "beach.jpg")
    shutil.copy(second, folder / "summer" / "beach.jpg")
    Image.open(third).save(folder / "summer" / "hill.png")
    return folder


@pytest.fixture(scope="module")
def released(index: Path, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released") / "out"
    options = ["--resize_size", str(SIZE), "--workers", "0", "--verbose", "0"]
    assert run(["activate", "--index", str(index), str(album), str(out), *options]) == 0
    return out


def test_every_image_is_written_as_png_under_its_name(released: Path, album: Path) -> None:
    assert {name for name in contents(released) if name.endswith(".png")} == {
        "beach.png",
        "summer/beach.png",
        "summer/hill.png",
    }
    for name, original in (("beach.png", "beach.jpg"), ("summer/hill.png", "summer/hill.png")):
        assert Image.open(released / name).size == Image.open(album / original).size


def test_python_gives_the_same_files(
    released: Path, album: Path, index: Path, tmp_path: Path
) -> None:
    result = ai.activate(album, index, ai.load_extractor(input_size=SIZE))
    result.save(tmp_path / "saved")
    here, there = contents(tmp_path / "saved"), contents(released)
    assert {*here} >= {"beach.png", "summer/hill.png", "activation.jsonl", "fts.pt"}
    assert here == {name: there[name] for name in here}


def test_record_says_how_much_the_written_file_differs(released: Path, album: Path) -> None:
    lines = (released / "activation.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["name"] for record in records] == [
        "beach.jpg",
        "summer/beach.jpg",
        "summer/hill.png",
    ]
    for record in records:
        pixels = [
            np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)
            for path in (album / record["name"], released / record["output"])
        ]
        change = pixels[1] - pixels[0]
        psnr = 10 * np.log10(255**2 / np.mean(change**2))
        assert record["psnr"] == pytest.approx(psnr, abs=0.01)
        assert record["linf"] == np.abs(change).max()
        assert record["distance_after"] < record["distance_before"]


def test_jpeg_files_keep_the_budget_that_was_asked_for(
    index: Path, album: Path, say: Callable[..., Answer], tmp_path: Path
) -> None:
    options = ["--resize_size", SIZE, "--workers", 0, "--iterations", 3]
    options += ["--psnr", 40, "--format", "jpeg", "--quality", 97]
    answer = say("activate", "--index", index, album, "out", *options)
    assert (answer.code, answer.err) == (0, "")
    lines = (tmp_path / "out" / "activation.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        before, after = (
            np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)
            for path in (album / record["name"], tmp_path / "out" / record["output"])
        )
        assert 10 * np.log10(255**2 / np.mean((after - before) ** 2)) >= 40
        assert record["output"].endswith(".jpg")
        assert record["distance_after"] < record["distance_before"]


def test_budget_that_the_format_breaks_is_said(
    index: Path, album: Path, say: Callable[..., Answer], tmp_path: Path
) -> None:
    options = ["--resize_size", SIZE, "--workers", 0, "--psnr", 60, "--format", "webp"]
    answer = say("activate", "--index", index, album, "out", *options)
    assert answer.code == 0
    warnings = [line for line in answer.out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 3
    assert warnings[0].startswith(
        f"warning: {album / 'beach.jpg'}: not activated, since webp at qu"
    )
    assert "out: 3 images, 0 activated, 3 only encoded, in " in answer.out.splitlines()[-1]


def test_budget_that_leaves_every_pixel_as_it_was_is_said(
    index: Path, album: Path, say: Callable[..., Answer]
) -> None:
    options = ["--resize_size", SIZE, "--workers", 0, "--psnr", 200]
    answer = say("activate", "--index", index, album, "out", *options)
    assert answer.code == 0
    assert "nan" not in answer.out
    parts = "0 activated, 3 unchanged (the budget is too tight)"
    assert f"out: 3 images, {parts}, in " in answer.out.splitlines()[-1]
    lines = Path("out/activation.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["psnr"] for line in lines] == [None] * 3
    assert [record["psnr"] for record in read_records(Path("out/activation.jsonl"))] == [inf] * 3


def test_images_without_an_iteration_are_not_blamed_on_the_budget(
    index: Path, album: Path, say: Callable[..., Answer]
) -> None:
    options = ["--resize_size", SIZE, "--workers", 0, "--iterations", 0]
    answer = say("activate", "--index", index, album, "out", *options)
    assert answer.code == 0
    parts = "0 activated, 3 unchanged (no iterations)"
    assert f"out: 3 images, {parts}, in " in answer.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--psnr", "-3"), "psnr: expected a positive number of dB, found -3.0"),
        (("--quality", "80"), "quality: expected none for png, which is lossless, found 80"),
        (("--format", "gif"), "format: expected one of png, jpeg, webp, found 'gif'"),
    ],
)
def test_bounds_and_formats_out_of_range_are_refused(
    index: Path, album: Path, say: Callable[..., Answer], options: tuple[str, ...], message: str
) -> None:
    answer = say("activate", "--index", index, album, "out", *options)
    assert (answer.code, answer.err) == (2, f"activeindex activate: error: {message}\n")


def test_code_is_what_the_index_stores_for_the_original(
    prepared: Prepared, released: Path, index: Path, tmp_path: Path
) -> None:
    """beach.jpg is the first matched reference; its feature comes from extract_fts."""
    options = ["--resize_size", str(SIZE), "--workers", "0", "--verbose", "0"]
    options += ["--data_dir", str(prepared.images), "--output_dir", str(tmp_path)]
    assert run(["extract_fts", *options]) == 0
    feature = torch.load(tmp_path / "fts.pt", weights_only=True).numpy()[:1]
    code = faiss.read_index(str(index / "index.faiss")).sa_encode(feature)[0]
    record = json.loads((released / "activation.jsonl").read_text().splitlines()[0])
    assert record["code"] == code.tobytes().hex()


def test_finished_folder_is_not_activated_again(
    released: Path, index: Path, album: Path, say: Callable[..., Answer]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in released.rglob("*")}
    options = ["--resize_size", SIZE, "--workers", 0]
    answer = say("activate", "--index", index, album, released, *options)
    assert answer.code == 0
    assert "PSNR" in answer.out
    assert f"{released}: 3 activated images, all of them before, in " in answer.out
    assert {path: path.stat().st_mtime_ns for path in released.rglob("*")} == before


def test_index_of_another_extractor_is_refused(
    index: Path, album: Path, say: Callable[..., Answer], tmp_path: Path
) -> None:
    options = ["--resize_size", 96, "--workers", 0]
    answer = say("activate", "--index", index, album, "out", *options)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    for named in (str(index), "at 64 px", "at 96 px"):
        assert named in answer.err
    assert not (tmp_path / "out").exists()


def test_output_folder_is_not_the_folder_of_the_images(
    index: Path, album: Path, say: Callable[..., Answer]
) -> None:
    before = contents(album)
    options = ["--resize_size", SIZE, "--workers", 0]
    answer = say("activate", "--index", index, album, album, *options)
    assert answer.code == 2
    assert f"output folder {album}: expected" in answer.err
    assert contents(album) == before


def test_images_are_activated_for_several_indexes_at_once(
    prepared: Prepared, index: Path, album: Path, say: Callable[..., Answer], tmp_path: Path
) -> None:
    options = ["--fts_training_path", prepared.training, "--idx_factory", "PCA16,SQ4"]
    assert say("train_index", "other", *options).code == 0
    options = ["--resize_size", SIZE, "--workers", 0, "--iterations", 3]
    answer = say("activate", "--index", index, "--index", "other", album, "out", *options)
    assert (answer.code, answer.err) == (0, "")
    lines = (tmp_path / "out" / "activation.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    also = [record["also"][0] for record in records]
    for aims, factory in ((records, FACTORY), (also, "PCA16,SQ4")):
        assert all(factory in aim["quantiser"]["name"] for aim in aims)
        nearer = [aim["distance_before"] - aim["distance_after"] for aim in aims]
        assert sum(nearer) > 0
    # Either of the two may be searched, or aimed at again.
    for either in (index, "other"):
        again = say(
            "activate", "--index", either, "out", tmp_path / f"again_{Path(either).name}", *options
        )
        assert (again.code, again.err) == (0, "")
