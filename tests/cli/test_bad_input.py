"""What a user can get wrong: one line that names it, exit code 2, and nothing lost."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.errors import InputError
from activeindex.indexing.training import Metric, train_faiss
from tests.cli.collection import FACTORY, SIZE, Prepared, contents, python
from tests.cli.conftest import Answer

Say = Callable[..., Answer]

INDEX = f"idx={FACTORY}_quant=L2.index"


@pytest.fixture(scope="module")
def finished(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A passive run without edits but with its index, to be left alone by what goes wrong."""
    root = tmp_path_factory.mktemp("finished")
    options = prepared.main_options(active=False, eval_icd=False, save_imgs=False)
    python("-m", "activeindex.main", *options, cwd=root)
    return root


def check(answer: Answer, *named: str, code: int = 2) -> None:
    """One line on standard error that names everything in ``named``, and this exit code."""
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) == 1, answer.err
    for text in named:
        assert text in answer.err


def extract(folder: object, **options: object) -> list[object]:
    given = {"data_dir": folder, "output_dir": "fts", "resize_size": SIZE, "workers": 0, **options}
    return ["extract_fts", *(part for k, v in given.items() for part in (f"--{k}", v))]


def images(prepared: Prepared, folder: Path) -> Path:
    shutil.copytree(prepared.images, folder)
    return folder


def save(path: Path, features: np.ndarray) -> Path:
    torch.save(torch.from_numpy(features), path)
    return path


def random_features(count: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)


# Images


@pytest.mark.parametrize("command", ["extract_fts", "main", "activate"])
def test_missing_folder_is_named(prepared: Prepared, say: Say, command: str) -> None:
    arguments: dict[str, list[object]] = {
        "extract_fts": extract("nowhere"),
        "main": ["main", *prepared.main_options(data_dir="nowhere")],
        "activate": ["activate", "nowhere", "out", "--index", "some.index"],
    }
    check(say(*arguments[command]), "nowhere", "expected a folder", "found nothing")


@pytest.mark.parametrize("option", ["data_path", "data_dir"])
def test_missing_folder_is_named_as_it_was_typed(say: Say, option: str) -> None:
    answer = say("prepare_disc", f"--{option}", "nowhere")
    check(answer, f" {option} nowhere: expected a folder, found nothing")


@pytest.mark.parametrize("command", ["activate", "store"])
def test_missing_index_may_have_been_a_folder_or_a_file(
    prepared: Prepared, say: Say, command: str
) -> None:
    arguments: dict[str, list[object]] = {
        "activate": ["activate", prepared.images, "out", "--index", "nowhere"],
        "store": ["store", "create", "faiss:store", "--index", "nowhere"],
    }
    expected = "index nowhere: expected a trained index, folder or file, found nothing"
    check(say(*arguments[command]), expected)


@pytest.mark.parametrize("option", ["data_dir", "query_nonmatch_dir"])
def test_empty_folder_is_named(prepared: Prepared, say: Say, tmp_path: Path, option: str) -> None:
    (tmp_path / "empty").mkdir()
    answer = say("main", *prepared.main_options(**{option: "empty"}))
    check(answer, f"{option} empty", "expected images", "found none")


def test_truncated_image_is_named(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    folder = images(prepared, tmp_path / "images")
    broken = folder / "R000011.jpg"
    broken.write_bytes(broken.read_bytes()[:1500])
    skip = "; --unreadable skip leaves it out"
    check(say(*extract("images")), "images/R000011.jpg", "truncated", skip)
    answer = say("main", *prepared.main_options(data_dir="images"))
    check(answer, "images/R000011.jpg")
    assert skip not in answer.err  # It has no such option.


def test_truncated_query_is_named(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    folder = images(prepared, tmp_path / "others")
    broken = folder / "R000011.jpg"
    broken.write_bytes(broken.read_bytes()[:1500])
    options = prepared.main_options(
        query_nonmatch_dir="others", active=False, eval_retrieval=False, save_imgs=False
    )
    check(say("main", *options), "others/R000011.jpg", "truncated")


def test_image_of_3_by_3_pixels_is_named(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    from PIL import Image

    folder = images(prepared, tmp_path / "images")
    Image.new("RGB", (3, 3)).save(folder / "tiny.png")
    check(say(*extract("images")), "images/tiny.png", "at least 11x11", "found 3x3")


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_more_than_max_pixels_are_refused_or_skipped(
    say: Say, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "images").mkdir()
    for number, side in enumerate((40, 50)):
        Image.new("RGB", (side, side)).save(tmp_path / "images" / f"{number}.png")
    options = {"max_pixels": 2400, "workers": workers}
    check(say(*extract("images", **options)), "1.png: expected an image of at most 2,400 pixels")
    answer = say(*extract("images", **options, unreadable="skip"))
    check(answer, "found 50x50 (2,500); raise the limit with --max_pixels", code=1)
    assert "1 feature" in answer.out
    check(say(*extract("images", max_pixels=0)), "--max_pixels", "expected 1 to 178956970")


def test_unreadable_images_can_be_skipped(prepared: Prepared, say: Say, tmp_path: Path) -> None:
    folder = images(prepared, tmp_path / "images")
    (folder / "R000000.jpg").write_text("not an image")
    answer = say(*extract("images", unreadable="skip"))
    check(answer, f"1 of {1 + len(list(prepared.images.iterdir()))} files skipped", code=1)
    assert "images/R000000.jpg: expected an image" in answer.err
    assert "skipped images/R000000.jpg" in answer.out
    assert (tmp_path / "fts" / "filenames.txt").read_text().split() == [
        path.name for path in sorted(prepared.images.iterdir())
    ]


# Feature files


@pytest.mark.parametrize("option", ["fts_training_path", "fts_reference_path"])
@pytest.mark.parametrize(
    ("features", "expected", "found"),
    [
        (random_features(300, 128), "expected features of dimension 256", "found dimension 128"),
        (
            np.where(np.arange(300)[:, None] == 7, np.nan, random_features(300, 256)),
            "expected finite values",
            "found NaN or infinity in row 7",
        ),
        (random_features(300, 256)[0], "expected a matrix", "(256,)"),
    ],
    ids=["dimension", "NaN", "vector"],
)
def test_feature_file_that_does_not_fit_is_named(
    prepared: Prepared,
    say: Say,
    tmp_path: Path,
    option: str,
    features: np.ndarray,
    expected: str,
    found: str,
) -> None:
    save(tmp_path / "bad.pt", features)
    answer = say("main", *prepared.main_options(**{option: "bad.pt"}))
    check(answer, f"{option} bad.pt", expected, found)


def test_missing_feature_file_is_named(prepared: Prepared, say: Say) -> None:
    answer = say("main", *prepared.main_options(fts_training_path="gone.pt"))
    check(answer, "fts_training_path gone.pt", "expected a file", "found nothing")


def test_feature_file_of_another_format_is_named(
    prepared: Prepared, say: Say, tmp_path: Path
) -> None:
    (tmp_path / "notes.pt").write_text("features, honestly")
    answer = say("main", *prepared.main_options(fts_reference_path="notes.pt"))
    check(answer, "fts_reference_path notes.pt", "expected one tensor")


def test_features_of_another_extractor_are_refused(prepared: Prepared, say: Say) -> None:
    answer = say("main", *prepared.main_options(resize_size=96))
    check(answer, "fts_training_path", str(prepared.training), "at 96 px", "at 64 px")


def test_fewer_features_than_centroids_are_counted(prepared: Prepared, say: Say) -> None:
    answer = say("main", *prepared.main_options(idx_factory="IVF512,PQ8x8"))
    check(answer, "idx_factory 'IVF512,PQ8x8'", "at least 512", "found 300")
    assert not list(Path("indexes").glob("*"))


# Indexes


def test_unknown_factory_is_named(prepared: Prepared, say: Say) -> None:
    answer = say("main", *prepared.main_options(idx_factory="IVF4,PQ8xx"))
    check(answer, "idx_factory 'IVF4,PQ8xx'", "expected a FAISS factory string")


def test_factory_without_a_target_is_refused_with_the_reason(prepared: Prepared, say: Say) -> None:
    """FAISS has binary codes for Euclidean distances only."""
    answer = say("main", *prepared.main_options(idx_factory="LSH", quant="IP"))
    check(answer, "idx_factory 'LSH'", "METRIC_L2")


@pytest.mark.parametrize(
    ("factory", "dimension", "metric", "expected", "found"),
    [
        (FACTORY, 128, "L2", "dimension 256", "dimension 128"),
        (FACTORY, 256, "IP", "metric L2", "found IP"),
        ("IVF8,PQ8x8np", 256, "L2", "inverted lists 4", "found 8"),
    ],
    ids=["dimension", "metric", "lists"],
)
def test_cached_index_of_another_kind_is_named_and_kept(
    prepared: Prepared,
    say: Say,
    tmp_path: Path,
    factory: str,
    dimension: int,
    metric: Metric,
    expected: str,
    found: str,
) -> None:
    cached = tmp_path / "indexes" / INDEX
    cached.parent.mkdir()
    index = train_faiss(random_features(300, dimension), factory, metric)
    faiss.write_index(index, str(cached))
    before = cached.read_bytes()
    check(say("main", *prepared.main_options()), f"indexes/{INDEX}", expected, found)
    assert cached.read_bytes() == before


@pytest.mark.parametrize("length", [0, 1000, None], ids=["empty", "truncated", "text"])
def test_corrupted_cached_index_is_named_and_kept(
    prepared: Prepared, say: Say, tmp_path: Path, finished: Path, length: int | None
) -> None:
    cached = tmp_path / "indexes" / INDEX
    cached.parent.mkdir()
    whole = (finished / "indexes" / INDEX).read_bytes()
    cached.write_bytes(b"not an index at all" if length is None else whole[:length])
    before = cached.read_bytes()
    check(say("main", *prepared.main_options()), f"indexes/{INDEX}", "expected a FAISS index file")
    assert cached.read_bytes() == before


@pytest.mark.parametrize("noted", [True, False], ids=["noted features", "features without note"])
def test_index_trained_with_another_extractor_is_refused(
    prepared: Prepared, say: Say, tmp_path: Path, finished: Path, noted: bool
) -> None:
    """The index was trained at 64 pixels, this experiment runs at 96."""
    folder = tmp_path / "fts_96"
    if noted:
        assert say(*extract(prepared.images, output_dir=folder, resize_size=96)).code == 0
    else:
        folder.mkdir()
        shutil.copy(prepared.training, folder / "fts.pt")
    options = prepared.main_options(
        fts_training_path=folder / "fts.pt",
        fts_reference_path=folder / "fts.pt",
        idx_dir=finished / "indexes",
        resize_size=96,
    )
    answer = say("main", *options)
    check(answer, INDEX, "at 64 px", "at 96 px")


# Outputs


@pytest.mark.parametrize("command", ["extract_fts", "main", "activate", "idx_dir", "prepare_disc"])
def test_output_that_cannot_be_written_is_named(
    prepared: Prepared, say: Say, tmp_path: Path, finished: Path, command: str
) -> None:
    (tmp_path / "file").write_text("mine")
    index = finished / "indexes" / INDEX
    arguments: dict[str, list[object]] = {
        "extract_fts": extract(prepared.images, output_dir="file/out"),
        "main": ["main", *prepared.main_options(output_dir="file/out")],
        "idx_dir": ["main", *prepared.main_options(idx_dir="file/indexes", active=False)],
        "activate": [
            *("activate", prepared.images, "file/out", "--index", index),
            *("--resize_size", SIZE, "--workers", 0),
        ],
        "prepare_disc": [
            *("prepare_disc", "--data_path", prepared.root / "disc"),
            *("--output_dir", "file/out", "--num_queries", 3),
        ],
    }
    check(say(*arguments[command]), "file/", "Not a directory")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "activeindex-test", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command to make a small disk with")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_is_said_and_the_command_goes_on_when_there_is_room(
    prepared: Prepared, say: Say, small_disk: Path
) -> None:
    out = small_disk / "fts"
    arguments = extract(prepared.root / "disc" / "train", output_dir=out, batch_size=20)
    check(say(*arguments), str(out), "No space left on device")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert say(*arguments).code == 0
    features = torch.load(out / "fts.pt", weights_only=True)
    expected = torch.load(prepared.training, weights_only=True)
    torch.testing.assert_close(features, expected)
    assert sorted(path.name for path in out.iterdir()) == ["filenames.txt", "fts.json", "fts.pt"]


def test_full_disk_is_said_in_an_experiment(
    prepared: Prepared, say: Say, small_disk: Path, finished: Path
) -> None:
    """There is room for the features of the originals, not for the images."""
    out = small_disk / "out"
    options = prepared.main_options(output_dir=out, idx_dir=finished / "indexes", iterations=1)
    check(say("main", *options), str(out), "No space left on device")


# Options


@pytest.mark.parametrize("name", ["model.pt", "model.onnx"])
def test_model_file_that_is_missing_or_corrupted_is_named(
    prepared: Prepared, say: Say, tmp_path: Path, name: str
) -> None:
    arguments = extract(prepared.images, model_path=name)
    check(say(*arguments), f"model_path {name}", "expected a file", "found nothing")
    (tmp_path / name).write_bytes(b"\x08\x07 no weights in here" * 50)
    kind = "ONNX file" if name.endswith(".onnx") else "TorchScript file"
    check(say(*arguments), name, kind)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"device": "quantum"}, ("device 'quantum'",)),
        ({"workers": -1}, ("workers", "expected 0 or more", "found -1")),
        ({"nprobe": 0}, ("nprobe", "expected 1 or more", "found 0")),
        ({"kneighbors": 0}, ("kneighbors", "expected 1 or more", "found 0")),
        ({"batch_size": 0}, ("batch_size", "expected 1 or more", "found 0")),
        ({"batch_size_eval": 0}, ("batch_size_eval", "expected 1 or more", "found 0")),
        ({"log_freq": 0}, ("log_freq", "expected 1 or more", "found 0")),
        ({"seed": -1}, ("seed", "expected 0 or more", "found -1")),
        ({"iterations": -1}, ("iterations", "expected 0 or more", "found -1")),
        ({"resize_size": 0}, ("resize_size", "expected 32 or more", "found 0")),
        ({"target": "moon"}, ("target", "expected one of pq_recons", "found 'moon'")),
        ({"loss_f": "hope"}, ("loss_f", "expected one of cossim", "found 'hope'")),
        ({"scaling": "nan"}, ("scaling", "expected 0 or more", "found nan")),
        ({"optimizer": "Adam lr=1"}, ("optimizer", "expected a name and arguments", "Adam lr=1")),
        ({"optimizer": "Adam,speed=9"}, ("optimizer 'Adam,speed=9'", "speed")),
        ({"optimizer": "Adam,lr=-1"}, ("optimizer 'Adam,lr=-1'",)),
        ({"scheduler": "StepLR"}, ("scheduler 'StepLR'", "step_size")),
        ({"model_name": "vgg"}, ("model_name", "sscd_disc_mixup", "found 'vgg'")),
    ],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_bad_value_is_named_before_anything_is_written(
    prepared: Prepared,
    say: Say,
    tmp_path: Path,
    changed: dict[str, object],
    named: tuple[str, ...],
) -> None:
    check(say("main", *prepared.main_options(**changed)), *named)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("main", "--nprobe", 0), ("--nprobe", "expected 1 or more, found 0")),
        (("main", "--target", "moon"), ("--target", "expected one of pq_recons", "'moon'")),
        (("activate", "no", "out", "--index", "no", "--seed", -1), ("--seed", "0 or more", "-1")),
    ],
    ids=["nprobe", "target", "seed"],
)
def test_bad_value_is_named_before_files_are_looked_at(
    say: Say, arguments: tuple[object, ...], named: tuple[str, ...]
) -> None:
    files = ("--data_dir", "no", "--fts_training_path", "no", "--fts_reference_path", "no")
    check(say(*arguments, *(files if arguments[0] == "main" else ())), *named)


@pytest.mark.parametrize("command", ["train_index", "whiten"])
def test_debug_shows_where_an_error_comes_from(say: Say, command: str) -> None:
    with pytest.raises(InputError, match="no: expected a file, found nothing"):
        say(command, "out", "--fts_training_path", "no", "--debug")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"active": "perhaps"}, "expected True or False, found 'perhaps'"),
        ({"quant": "cosine"}, "cosine"),
        ({"kneighbors": "many"}, "many"),
    ],
)
def test_value_of_another_kind_is_a_usage_error(
    prepared: Prepared, say: Say, changed: dict[str, object], named: str
) -> None:
    answer = say("main", *prepared.main_options(**changed))
    (option,) = changed
    check(answer, f"--{option}", named)


def test_unknown_command_and_option_are_named(say: Say) -> None:
    for arguments in (("mian",), ("table", "--fast", "run")):
        answer = say(*arguments)
        check(answer, arguments[0 if len(arguments) == 1 else 1])


def test_no_command_is_a_usage_error(say: Say) -> None:
    check(say(), "COMMAND")


def test_target_that_the_index_does_not_have_is_refused(prepared: Prepared, say: Say) -> None:
    answer = say("main", *prepared.main_options(idx_factory="PQ8x8np", target="ivf_cluster"))
    check(answer, "no inverted lists", "pq_recons")


def test_more_queries_than_training_images_are_counted(
    prepared: Prepared, say: Say, tmp_path: Path
) -> None:
    answer = say(
        *("prepare_disc", "--data_path", prepared.root / "disc", "--output_dir", tmp_path / "out")
    )
    check(answer, "train", "at least 40000", "found 300", "--num_queries")
    assert not (tmp_path / "out").exists()


def test_mistakes_leave_what_is_done_untouched(
    prepared: Prepared, say: Say, finished: Path
) -> None:
    before = contents(finished)
    shared: dict[str, object] = {
        "output_dir": finished / "out",
        "idx_dir": finished / "indexes",
        "active": False,
    }
    mistakes: tuple[dict[str, object], ...] = (
        {"nprobe": 0},
        {"data_dir": "nowhere"},
        {"idx_factory": "IVF512,PQ8x8"},
        {"fts_reference_path": prepared.training},
        {"batch_size": 3},
    )
    for mistake in mistakes:
        assert say("main", *prepared.main_options(**{**shared, **mistake})).code == 2
    assert contents(finished) == before


def test_mistake_can_be_mended_in_the_same_folder(prepared: Prepared, say: Say) -> None:
    """What fails before it has made anything does not claim the output folder."""
    options: dict[str, object] = {"eval_icd": False, "save_imgs": False, "idx_factory": "PQ8x8np"}
    options["iterations"] = 1
    assert say("main", *prepared.main_options(**options, target="ivf_cluster")).code == 2
    answer = say("main", *prepared.main_options(**options))
    assert answer.code == 0, answer.err
