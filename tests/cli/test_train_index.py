"""``activeindex train_index`` and what is refused when quantisers or extractors differ."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.collection import FACTORY, SIZE, Prepared
from tests.cli.conftest import Answer

Say = Callable[..., Answer]


@pytest.fixture(scope="module")
def options() -> list[str]:
    return ["--resize_size", str(SIZE), "--workers", "0"]


def train(say: Say, prepared: Prepared, out: Path, factory: str = FACTORY) -> str:
    answer = say(
        *("train_index", out, "--fts_training_path", prepared.training, "--idx_factory", factory)
    )
    assert (answer.code, answer.err) == (0, "")
    return answer.out


def test_the_folder_says_what_it_is(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    out = tmp_path / "index"
    assert f"training {FACTORY} on 300 features\n" in train(say, prepared, out)
    manifest = json.loads((out / "manifest.json").read_text())
    note = json.loads(prepared.training.with_name("fts.json").read_text())
    assert manifest["idx_factory"] == FACTORY
    assert manifest["extractor"] == note["extractor"]
    assert len(manifest["extractor"]["sha256"]) == len(manifest["training_sha256"]) == 64
    answer = say("train_index", out, "--fts_training_path", prepared.training)
    assert answer.code == 2
    assert "idx_factory" in answer.err


def test_images_activated_for_one_index_are_refused_by_another(
    prepared: Prepared, say: Say, tmp_path: Path, options: list[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(say, prepared, first)
    said = train(say, prepared, second, "PQ8x8np")
    assert "warning: 300 features for 256 centroids; 9,984 advised\n" in said
    album, released, again = tmp_path / "album", tmp_path / "released", tmp_path / "again"
    album.mkdir()
    shutil.copy(sorted(prepared.images.iterdir())[0], album / "a.jpg")
    assert say("activate", "--index", first, album, released, *options).code == 0
    answer = say("activate", "--index", second, released, again, *options)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert f"{FACTORY} L2 (" in answer.err
    assert "PQ8x8np L2 (" in answer.err
    assert not again.exists()
    assert say("activate", "--index", second, released, again, *options, "--force").code == 0

    search = prepared.main_options(data_dir=released, active=False, query_nonmatch_dir=None)
    answer = say("main", *search, "--idx_factory", "PQ8x8np", "--output_dir", "other")
    assert answer.code == 2
    assert "a.jpg was activated for the quantiser" in answer.err
    same = say("main", *search, "--output_dir", "same")
    assert (same.code, same.err) == (0, "")  # trained on the same features, so the same index
    forced = say("main", *search, "--idx_factory", "PQ8x8np", "--output_dir", "other", "--force")
    assert forced.code == 0


def test_search_parameters_are_set_by_name(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    few = {"active": False, "query_nonmatch_dir": None, "eval_icd": False}
    given = prepared.main_options(search_params="nprobe=4", **few)
    assert say("main", *given).code == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["index"]["search_params"] == "nprobe=4"
    answer = say("main", *prepared.main_options(search_params="efSearch=4", **few, output_dir="b"))
    assert answer.code == 2
    assert "search_params: expected a parameter of IndexIVFPQ, found 'efSearch'" in answer.err


def test_an_index_that_knows_edits_goes_through_activation_and_the_experiment(
    prepared: Prepared, say: Say, tmp_path: Path, options: list[str]
) -> None:
    edited = ("extract_fts", "--data_dir", prepared.root / "disc" / "train", "--edit_seed", 0)
    assert say(*edited, "--output_dir", "edited", *options).code == 0
    factory = f"NAP4,{FACTORY}"
    training = ("--fts_training_path", prepared.training, "--idx_factory", factory)
    answer = say("train_index", "index", *training)
    assert answer.code == 2
    assert answer.err == (
        "activeindex train_index: error: idx_factory NAP4: expected features of edited copies "
        "(fts_edited_path, from extract_fts --edit_seed), found none\n"
    )
    assert not Path("index").exists()
    shuffled = Path("shuffled")
    shutil.copytree("edited", shuffled)
    listed = (shuffled / "filenames.txt").read_text().splitlines()[::-1]
    (shuffled / "filenames.txt").write_text("".join(f"{name}\n" for name in listed))
    answer = say("train_index", "index", *training, "--fts_edited_path", shuffled / "fts.pt")
    assert answer.code == 2
    assert "expected copies of the images of" in answer.err
    copies = ("--fts_edited_path", "edited/fts.pt")
    assert say("train_index", "index", *training, *copies).code == 0
    few = ("--iterations", 1, *options)
    assert say("activate", "--index", "index", prepared.images, "released", *few).code == 0
    record = json.loads(Path("released/activation.jsonl").read_text().splitlines()[0])
    assert record["quantiser"]["name"] == f"{factory} L2"
    assert record["distance_after"] < record["distance_before"]
    assert say("store", "create", f"faiss:{tmp_path / 'store'}", "--index", "index").code == 0
    assert say("store", "add", f"faiss:{tmp_path / 'store'}", "released").code == 0
    found = say("search", "--store", f"faiss:{tmp_path / 'store'}", *options, "--json", "released")
    lines = [json.loads(line) for line in found.out.splitlines()]
    names = {Path(line["query"]).stem: Path(line["neighbours"][0]["name"]).stem for line in lines}
    assert len(names) == 4
    assert all(query == name for query, name in names.items())
    run = prepared.main_options(idx_factory=factory, iterations=1, verbose=0)
    assert say("main", *run, *copies).code == 0
    assert (tmp_path / "indexes" / f"idx={factory}_quant=L2.index").is_file()
    again = prepared.main_options(idx_factory=factory, iterations=1, output_dir="again")
    assert say("main", *again).code == 0  # Once it is trained, nobody has to keep the copies.
    others = ("--fts_edited_path", "edited/fts.pt", "edited/fts.pt")
    answer = say("main", *prepared.main_options(idx_factory=factory, output_dir="other"), *others)
    assert answer.code == 2
    assert "expected an index trained with edited_sha256" in answer.err
