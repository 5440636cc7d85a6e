"""``activeindex store`` and ``activeindex search``: from released pictures to their copies."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activeindex.cli import run
from activeindex.extractors.feature_files import read_features
from tests.cli.collection import SIZE, photographs
from tests.cli.conftest import Answer
from tests.photographs import PROTECTED
from tests.runtime.ray_cluster import Cluster

Say = Callable[..., Answer]
SMALL = ("--resize_size", SIZE, "--workers", 0)
ENGINES = ("faiss:", "lance://")
FACTORY = "IVF4,PQ8x8np"


@dataclass(frozen=True)
class Released:
    """An album that was activated, with the features of its originals."""

    index: Path
    other: Path
    album: Path
    out: Path
    fts: Path


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    root = tmp_path_factory.mktemp("released")
    made = Released(*(root / name for name in ("index", "other", "album", "out", "fts")))
    made.album.mkdir()
    for number, photograph in enumerate(photographs(PROTECTED[:4])):
        photograph.resize((160, 120)).save(made.album / f"{number}.jpg")
    quiet = ["--verbose", "0"]
    small = [str(part) for part in SMALL]
    assert run(
        ["extract_fts", "--data_dir", str(made.album), "--output_dir", str(made.fts), *small]
    ) == 0  # fmt: skip
    # Training features: what the album's copies might have, noted as its extractor's.
    features = read_features(made.fts / "fts.pt", "fts").values
    noise = np.random.default_rng(0).normal(scale=0.03, size=(300, *features.shape[1:]))
    np.save(root / "training.npy", (features[np.arange(300) % 4] + noise).astype(np.float32))
    shutil.copy(made.fts / "fts.json", root / "training.json")
    training = ["--fts_training_path", str(root / "training.npy"), *quiet]
    for command in (
        ["train_index", str(made.index), "--idx_factory", FACTORY, *training],
        ["train_index", str(made.other), "--idx_factory", "IVF2,PQ8x8np", *training],
        ["activate", "--index", str(made.index), str(made.album), str(made.out), *small, *quiet],
    ):
        assert run(command) == 0
    return made


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{tmp_path / 'store'}"


def fill(say: Say, store: str, released: Released) -> None:
    answer = say("store", "create", store, "--index", released.index)
    assert answer.code == 0
    assert f"{store}: created a store for {FACTORY} L2 (" in answer.out
    assert f"activeindex store add {store} RELEASED" in answer.out
    answer = say(
        *("store", "add", store, released.fts / "fts.pt", "--data_dir", released.album),
        *("--activation", released.out / "activation.jsonl"),
    )
    assert answer.code == 0
    assert "4 images added, 4 of them activated" in answer.out


def test_features_of_other_views_than_pictures_were_activated_for_are_refused(
    say: Say, released: Released, tmp_path: Path
) -> None:
    views = ("--descriptor_views", 8)
    activated = ("activate", "--index", released.index, released.album, "out", *views)
    assert "features in out/fts.pt, of 8 views" in say(*activated, "--iterations", 1, *SMALL).out
    extraction = ("extract_fts", "--data_dir", released.album, "--output_dir", "fts", *views)
    assert say(*extraction, *SMALL).code == 0

    stores = (f"faiss:{tmp_path / str(number)}" for number in itertools.count())

    def add(features: Path, out: Path, *more: str) -> Answer:
        store = next(stores)
        assert say("store", "create", store, "--index", released.index).code == 0
        records = ("--activation", out / "activation.jsonl")
        return say("store", "add", store, features / "fts.pt", *records, *more)

    for features, out in ((released.fts, tmp_path / "out"), (tmp_path / "fts", released.out)):
        answer = add(features, out)
        assert answer.code == 2
        assert "expected features of extract_fts --descriptor_views" in answer.err
        forced = add(features, out, "--force").out
        assert "have another code than they were activated for" in forced
    answer = add(tmp_path / "fts", tmp_path / "out")
    assert answer.code == 0
    assert "another code" not in answer.out
    store = next(stores)
    assert say("store", "create", store, "--index", released.index).code == 0
    answer = say("store", "add", store, tmp_path / "fts" / "fts.pt")
    assert answer.code == 2
    assert "has no record of activation, found --descriptor_views 8" in answer.err


def test_folder_of_activated_pictures_is_added_as_it_is(
    say: Say, released: Released, store: str
) -> None:
    options = ("--index", released.index, "--code_views", 8)  # As 0.1 named it.
    activated = ("activate", *options, released.album, "out")
    assert say(*activated, "--iterations", 1, *SMALL).code == 0
    assert say("store", "create", store, "--index", released.index).code == 0
    answer = say("store", "add", store, "out")
    assert answer.code == 0
    assert "4 images added, 4 of them activated, in " in answer.out
    # Those that are there stay, and of these it is said that they are not what was given.
    answer = say("store", "add", store, released.out)
    assert "0 images added, 0 of them activated; 4 were there already, 4 of them for " in answer.out
    assert "another code (0.jpg, 1.jpg, 2.jpg …): remove these before they are add" in answer.out
    answer = say("store", "add", store, "out")
    assert "; 4 were there already, in " in answer.out
    line = json.loads(say("store", "get", store, "2.jpg").out)
    record = json.loads(Path("out/activation.jsonl").read_text().splitlines()[2])
    assert (line["name"], line["code"]) == (record["name"], record["code"])


def test_folder_of_activated_pictures_without_their_records_is_not_added(
    say: Say, released: Released, store: str, tmp_path: Path
) -> None:
    shutil.copytree(released.out, tmp_path / "copy")
    (tmp_path / "copy" / "activation.jsonl").unlink()
    say("store", "create", store, "--index", released.index)
    answer = say("store", "add", store, "copy")
    assert answer.code == 2
    assert "copy: expected activation.jsonl beside the features of activated" in answer.err
    records = released.out / "activation.jsonl"
    assert say("store", "add", store, "copy", "--activation", records).code == 0
    assert len(say("store", "get", store, "--where", "psnr > 0").out.splitlines()) == 4


def test_folder_without_features_is_not_added(say: Say, released: Released, store: str) -> None:
    assert say("store", "create", store, "--index", released.index).code == 0
    answer = say("store", "add", store, released.album)
    assert answer.code == 2
    assert answer.err == (
        f"activeindex store: error: FTS {released.album}: expected a folder that activate or "
        "extract_fts has finished, with fts.pt, found none\n"
    )


def test_copies_of_released_pictures_are_found(
    say: Say, store: str, released: Released, tmp_path: Path
) -> None:
    fill(say, store, released)
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in sorted(released.out.glob("*.png")):
        Image.open(path).convert("RGB").save(copies / f"{path.stem}.jpg", quality=90)
    options = ("search", "--store", store, "--index", released.index, "--nprobe", 4, *SMALL)
    answer = say(*options, "--json", copies)
    warning = (
        f"activeindex search: {store} is not calibrated, so nothing says whether a hit is a copy"
    )
    assert (answer.code, answer.err.splitlines()) == (
        0,
        [f"{warning}: activeindex calibrate {store} --background FOLDER"],
    )
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [Path(line["query"]).name for line in lines] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [line["neighbours"][0]["name"] for line in lines] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    first = lines[0]["neighbours"][0]
    assert (first["activated"], first["rank"]) == (True, 0)
    record = json.loads((released.out / "activation.jsonl").read_text().splitlines()[0])
    assert first["sha256"] == record["sha256"]
    table = say(*options, "--k", 1, "--refine", 2, copies / "2.jpg").out
    assert "  1  " in table
    assert "; 4 of 4 lists, 4 codes\n" in table
    plain = ("search", "--store", store, *SMALL, copies / "2.jpg")
    assert "; 4 of 4 lists, 4 codes\n" in say(*plain).out
    assert "; 2 of 4 lists, 2 codes\n" in say(*plain, "--effort", 2).out
    assert "; 1 of 4 lists, 1 code\n" in say(*plain, "--nprobe", 1).out
    assert "2.jpg  (id 2, " in table
    filtered = say(*options, "--json", "--where", "name = '3.jpg'", copies / "0.jpg").out
    assert [n["name"] for n in json.loads(filtered)["neighbours"]] == ["3.jpg"]


def test_a_query_that_cannot_be_read_is_named_and_the_others_are_answered(
    say: Say, store: str, released: Released, tmp_path: Path
) -> None:
    fill(say, store, released)
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "0.png").write_bytes(b"no image")
    shutil.copy(released.out / "1.png", queries)
    options = ("search", "--store", store, "--k", 1, *SMALL, queries)
    refused = say(*options, "--unreadable", "refuse")
    assert (refused.code, "--unreadable skip leaves it out" in refused.err) == (2, True)
    some = say(*options)
    table = some.out
    assert (some.code, f"1 of 2 files skipped: {queries / '0.png'}: " in some.err) == (1, True)
    alone = say("search", "--store", store, *SMALL, queries / "0.png")
    assert (alone.code, "1 of 1 file skipped: " in alone.err) == (2, True)
    assert f"skipped {queries / '0.png'}: " in table
    assert "1.jpg  (id 1, " in table
    lines = say(*options, "--unreadable", "skip", "--json").out.splitlines()
    first, second = map(json.loads, lines)
    assert first == {"query": str(queries / "0.png"), "unreadable": first["unreadable"]}
    assert second["neighbours"][0]["name"] == "1.jpg"


def test_a_filter_that_names_no_column_is_refused_in_a_line_without_paths(
    say: Say, store: str, released: Released
) -> None:
    fill(say, store, released)
    answer = say("store", "get", store, "--where", "colour = 'red'")
    assert answer.code == 2
    assert "where \"colour = 'red'\", column 1: expected a column (id, name, " in answer.err
    assert "/" not in answer.err.partition("colour")[2]
    for ids in ("99999999999999999999", "-99999999999999999999"):
        answer = say("store", "get", store, "--ids", ids)
        assert (answer.code, "ids: expected whole numbers of 64 bits" in answer.err) == (2, True)


def test_a_store_is_filled_looked_into_and_emptied(
    say: Say, store: str, released: Released
) -> None:
    fill(say, store, released)
    again = say("store", "add", store, released.fts / "fts.pt")
    assert "0 images added" in again.out
    assert "4 were there already" in again.out
    got = say("store", "get", store, "1.jpg", "--ids", 3)
    records = [json.loads(line) for line in got.out.splitlines()]
    assert [record["name"] for record in records] == ["1.jpg", "3.jpg"]
    assert records[0]["code"] == records[0]["activation"]["code"]
    until = ("--disabled_until", "4e9")
    assert "1 image updated" in say("store", "update", store, "3.jpg", "--tags", "a", *until).out
    wrong = say("store", "update", store, "3.jpg", "--metadata", "{")
    assert wrong.code == 2
    assert "metadata: expected JSON, found '{'" in wrong.err
    assert "expected --tags" in say("store", "update", store, "3.jpg").err
    got = json.loads(say("store", "get", store, "--where", "'a' IN tags").out)
    assert (got["name"], got["disabled_until"]) == ("3.jpg", 4e9)
    assert "2 images removed, 2 left" in say("store", "remove", store, "--where", "id < 2").out
    gone = say("store", "get", store, "0.jpg", "3.jpg", "--ids", 77)
    assert gone.code == 1
    assert json.loads(gone.out)["name"] == "3.jpg"  # What is there is printed first.
    assert gone.err.rstrip().endswith(f"{store}: expected 0.jpg, 77 there, found no such image")
    assert "1 image removed, 1 left" in say("store", "remove", store, "2.jpg").out
    assert say("store", "compact", store).code == 0
    assert "         1  IVF4,PQ8x8np L2" in say("store", "info", store).out


def test_a_renewed_store_keeps_what_was_released_before(
    say: Say, store: str, released: Released
) -> None:
    fill(say, store, released)
    add = ("store", "add", store, released.fts / "fts.pt")
    refused = say(*add, "--index", released.other)
    assert refused.code == 2
    assert "expected the quantiser IVF4,PQ8x8np L2" in refused.err
    assert "found IVF2,PQ8x8np L2" in refused.err
    assert say("store", "renew", store, "--index", released.other).code == 0
    activation = ("--activation", released.out / "activation.jsonl")
    refused = say(*add, *activation)
    assert refused.code == 2
    assert "0.jpg was activated for the quantiser IVF4,PQ8x8np L2" in refused.err
    assert "0 images added" in say(*add, *activation, "--index", released.index).out
    assert "4 images added" in say(*add).out
    found = say("search", "--store", store, "--json", "--nprobe", 4, *SMALL, released.out / "0.png")
    neighbours = json.loads(found.out)["neighbours"]
    assert sorted(n["id"] for n in neighbours) == list(range(8))


def test_a_store_is_migrated_when_the_forecast_loses_little(
    say: Say, store: str, released: Released
) -> None:
    fill(say, store, released)
    migrate = ("store", "migrate", store, "--index", released.other)
    refused = say(*migrate)
    assert refused.code == 2
    assert "the released file of 0.jpg" in refused.err
    refused = say(*migrate, "--released", released.out, "--most_lost", -1)
    assert refused.code == 2
    assert "expected to lose -1.0 of R@1 at most (--most_lost), found R@1 " in refused.err
    assert "4  IVF4,PQ8x8np L2" in say("store", "info", store).out
    done = say(*migrate, "--released", released.out, "--most_lost", 1)
    assert done.code == 0
    assert "4 images coded anew" in done.out
    assert "of edited copies of 4 pictures" in done.out
    assert "4  IVF2,PQ8x8np L2" in say("store", "info", store).out
    found = say("search", "--store", store, "--json", *SMALL, released.out / "2.png")
    assert json.loads(found.out)["neighbours"][0]["name"] == "2.jpg"
    assert "0 images coded anew" in say("store", "migrate", store).out


def test_another_extractor_or_quantiser_is_refused_unless_forced(
    say: Say, store: str, released: Released
) -> None:
    fill(say, store, released)
    query = released.out / "0.png"
    refused = say("search", "--store", store, "--resize_size", 96, "--workers", 0, query)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "at 64 px, found features of" in refused.err
    assert "at 96 px" in refused.err
    refused = say("search", "--store", store, "--index", released.other, *SMALL, query)
    assert refused.code == 2
    assert "expected the quantiser IVF4,PQ8x8np L2" in refused.err
    other = ("--resize_size", 96, "--workers", 0, "--index", released.other)
    assert say("search", "--store", store, query, *other, "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("store", "info", "STORE"), "expected a store, found no store.json"),
        (("search", "--store", "STORE", "nowhere.png"), "IMAGES nowhere.png: expected a file"),
        (("search", "--store", "x", "IMAGE"), "expected lance://PATH or faiss:PATH, found 'x'"),
        (("search", "--store", "STORE", "--k", 0, "IMAGE"), "k: expected 1 or more, found 0"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    say: Say, store: str, released: Released, arguments: tuple[object, ...], message: str
) -> None:
    names = {"STORE": store, "IMAGE": str(released.out / "0.png")}
    if "nowhere.png" in arguments:  # A missing store would be named first.
        assert say("store", "create", store, "--index", released.index).code == 0
    answer = say(*(names.get(str(part), part) for part in arguments))
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert message in answer.err


def test_a_store_that_ray_fills_gives_the_answers_of_one_that_is_filled_here(
    ray_cluster: Cluster, say: Say, released: Released, tmp_path: Path
) -> None:
    answers = {}
    ray = ("--engine", "ray", "--address", ray_cluster.address, "--ray_workers", 1)
    activation = ("--activation", released.out / "activation.jsonl")
    for name, engine in (("here", ()), ("ray", ray)):
        store = f"lance://{tmp_path / name}"
        assert say("store", "create", store, "--index", released.index).code == 0
        added = say("store", "add", store, released.fts / "fts.pt", *activation, *engine)
        assert (added.code, added.err) == (0, "")
        assert "4 images added, 4 of them activated" in added.out
        assert ("ray: workers with " in added.out) == bool(engine)
        assert say("store", "compact", store, *engine).code == 0
        query = ("--json", "--nprobe", 4, *SMALL, released.out)
        answers[name] = say("search", "--store", store, *query).out
    assert answers["ray"].count("\n") == 4
    assert answers["ray"] == answers["here"]


def test_ray_has_nothing_to_do_for_a_store_in_memory(
    say: Say, released: Released, tmp_path: Path
) -> None:
    store = f"faiss:{tmp_path / 'store'}"
    fill(say, store, released)
    for arguments in (("add", store, released.fts / "fts.pt"), ("compact", store)):
        refused = say("store", *arguments, "--engine", "ray")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "engine: expected a store lance://PATH, which several" in refused.err
    refused = say("store", "add", store, released.fts / "fts.pt", "--address", "auto")
    assert refused.code == 2
    assert "address: expected --engine ray with it, found in-process" in refused.err


def test_names_that_do_not_fit_the_features_are_refused(
    say: Say, store: str, released: Released, tmp_path: Path
) -> None:
    fill(say, store, released)
    (tmp_path / "names.txt").write_text("a\nb\n")
    answer = say("store", "add", store, released.fts / "fts.pt", "--names", tmp_path / "names.txt")
    assert answer.code == 2
    assert "expected 4 names, one per feature, found 2" in answer.err


def test_without_lance_the_extra_is_named(
    say: Say, released: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    answer = say("store", "create", "lance://store", "--index", released.index)
    assert answer.code == 2
    assert 'pip install "activeindex[lance]"' in answer.err
