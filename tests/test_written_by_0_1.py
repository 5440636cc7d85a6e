"""Files that release 0.1 wrote are read, resumed or refused; see fixtures/v0_1/README.md."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activeindex.activation.records import read_records, recorded_extractor, recorded_outcomes
from activeindex.cli import run
from activeindex.errors import InputError
from activeindex.experiment.folder import RunFolder
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.named import load_extractor
from activeindex.extractors.whitening import WhitenedExtractor, Whitening
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import TrainedIndex
from activeindex.runtime.files import file_hash
from activeindex.stores.store import Store

WRITTEN = Path(__file__).parent / "fixtures" / "v0_1"
TIME = 1_700_000_000
"""When the images were last changed, which Git does not keep and journals note."""
TINY = (
    *("--model_name", "torchscript", "--model_path", "tiny.pt"),
    *("--resize_size", "64", "--workers", "0"),
)
ACTIVATE = ("activate", *TINY, "--index", "index_pq", "originals", "--preset", "fast")
MAIN = (
    *("main", *TINY, "--data_dir", "originals", "--query_nonmatch_dir", "queries"),
    *("--idx_factory", "IVF2,PQ4x8np", "--idx_dir", "indexes", "--batch_size", "1"),
    *("--fts_training_path", "fts_training/fts.pt"),
    *("--fts_reference_path", "fts_references/fts.pt"),
    *("--kneighbors", "5", "--iterations", "6", "--log_freq", "2"),
)
STORES = ("faiss:store_faiss", "lance://store_lance")
INDEXES = ("index_pq", "index_nap", "indexes/idx=IVF2,PQ4x8np_quant=L2.index")

Answer = tuple[int, str, str]


@pytest.fixture
def say(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Runs ``activeindex …`` in a copy of the folder: exit code, output and errors."""
    shutil.copytree(WRITTEN, tmp_path / "v0_1")
    for folder in ("originals", "queries"):
        for image in (tmp_path / "v0_1" / folder).iterdir():
            os.utime(image, (TIME, TIME))
    monkeypatch.chdir(tmp_path / "v0_1")

    def answer(*arguments: str) -> Answer:
        code = run(list(arguments))
        return code, *capfd.readouterr()

    return answer


@pytest.fixture(scope="module")
def tiny() -> Extractor:
    return load_extractor(str(WRITTEN / "tiny.pt"), 64)


def contents(folder: str) -> dict[str, bytes]:
    """The files below a folder; times of a run are taken at every start."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files if path.name != "times.jsonl"}


@pytest.mark.parametrize("name", ["fts_training", "fts_references", "released"])
def test_features_name_their_extractor_with_its_full_hash(name: str, tiny: Extractor) -> None:
    features = read_features(WRITTEN / name / "fts.pt", "fts", 32)
    assert features.extractor == tiny.identity
    assert features.descriptor_views == 0


@pytest.mark.parametrize("name", INDEXES)
def test_indexes_are_those_of_their_extractor(name: str, tiny: Extractor) -> None:
    index = TrainedIndex.read(WRITTEN / name)
    assert index.extractor == tiny.identity
    index.check_extractor(tiny.identity)
    with pytest.raises(InputError, match=r"expected features of tiny\.pt \(.* found .* at 96 px"):
        index.check_extractor(replace(tiny.identity, input_size=96))
    assert index.quantiser.reconstruct(np.ones((2, 32), np.float32)).shape == (2, 32)


@pytest.mark.parametrize(
    ("folder", "factory"), [("index_pq", "IVF2,PQ4x8np"), ("index_nap", "NAP2,IVF2,PQ4x4np")]
)
def test_an_index_is_not_trained_again(
    say: Callable[..., Answer], folder: str, factory: str
) -> None:
    before = contents(folder)
    given = ["--fts_training_path", "fts_training/fts.pt", "--idx_factory", factory]
    code, out, err = say("train_index", *given, folder)
    assert (code, err) == (0, "")
    assert "was trained before; nothing changed" in out
    assert contents(folder) == before
    code, _, err = say("train_index", *given[:2], "--idx_factory", "IVF2,SQ8", folder)
    assert code == 2
    assert f"trained with idx_factory IVF2,SQ8, found {factory}; give another folder" in err


def test_a_whitening_goes_behind_its_extractor_alone(tiny: Extractor) -> None:
    whitening = Whitening.read(WRITTEN / "whitening.npz")
    assert WhitenedExtractor(tiny, whitening).identity.whitening == whitening.sha256
    other = load_extractor(str(WRITTEN / "tiny.pt"), 64)
    other.identity = replace(other.identity, name="other.pt")
    with pytest.raises(InputError, match=r"one fitted for other\.pt .*, found one for tiny\.pt"):
        WhitenedExtractor(other, whitening)


@pytest.mark.parametrize("name", ["released", "run_active"])
def test_records_name_extractor_and_quantiser(name: str, tiny: Extractor) -> None:
    path = WRITTEN / name / "activation.jsonl"
    index = TrainedIndex.read(WRITTEN / ("index_pq" if name == "released" else INDEXES[2]))
    records = list(read_records(path))
    assert len(records) == 4
    for record in records:
        assert recorded_extractor(path, record) == tiny.identity
        (aim,) = recorded_outcomes(path, record)
        assert aim.quantiser == index.identity


def test_a_finished_activation_is_recognised(say: Callable[..., Answer]) -> None:
    before = contents("released")
    code, out, err = say(*ACTIVATE, "released")
    assert (code, err) == (0, "")
    assert "4 images" in out
    assert contents("released") == before
    code, _, err = say(*ACTIVATE, "--seed", "1", "released")
    assert code == 2
    assert "holds results with seed=0, this command has seed=1; give another output" in err


def test_an_unfinished_activation_goes_on(say: Callable[..., Answer]) -> None:
    folder = Path("released_unfinished")
    begun = contents(str(folder))
    first = begun[str(folder / ".activation.jsonl.partial")]
    code, _, err = say(*ACTIVATE, str(folder))
    assert (code, err) == (0, "")
    assert (folder / "activation.jsonl").read_bytes().startswith(first)
    for name in ("astronaut.png", "chelsea.png"):
        assert (folder / name).read_bytes() == begun[str(folder / name)]
    for record in read_records(folder / "activation.jsonl"):
        assert file_hash(folder / record["output"]) == record["output_sha256"]
    names = ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"]
    assert (folder / "filenames.txt").read_text().split() == names
    assert read_features(folder / "fts.pt", "fts").values.shape == (4, 32)


def test_released_images_are_not_activated_for_another_index(say: Callable[..., Answer]) -> None:
    given = ["activate", *TINY, "--index", "index_nap", "released", "again"]
    code, _, err = say(*given)
    assert code == 2
    assert "astronaut.jpg was activated for the quantiser IVF2,PQ4x8np L2 (" in err


@pytest.mark.parametrize(("name", "active"), [("run_active", True), ("run_passive", False)])
def test_a_run_is_recognised_by_its_own_release_alone(
    say: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, name: str, active: bool
) -> None:
    monkeypatch.setattr("activeindex.experiment.run.__version__", "0.1.0")
    given, before = [*MAIN, "--active", str(active), "--output_dir", name], contents(name)
    code, _, err = say(*given)
    assert (code, err) == (0, "")
    assert contents(name) == before
    monkeypatch.setattr("activeindex.experiment.run.__version__", "0.2.0")
    code, _, err = say(*given)
    assert code == 2
    assert "holds results with version='0.1.0', this command has version='0.2.0'; give" in err


def test_an_unfinished_run_goes_on_in_its_own_release(
    say: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("run_active_unfinished")
    first = (folder / ".activation.jsonl.partial").read_bytes()
    given = [*MAIN, "--active", "True", "--output_dir", str(folder)]
    monkeypatch.setattr("activeindex.experiment.run.__version__", "0.2.0")
    code, _, err = say(*given)
    assert code == 2
    assert "holds results with version='0.1.0', this command has version='0.2.0'; give" in err
    monkeypatch.setattr("activeindex.experiment.run.__version__", "0.1.0")
    code, _, err = say(*given)
    assert (code, err) == (0, "")
    assert (folder / "activation.jsonl").read_bytes().startswith(first)
    lines = (folder / "retr_df.csv").read_text().splitlines()
    assert len(lines) == len(Path("run_active/retr_df.csv").read_text().splitlines())


def test_runs_are_tabled_and_reported(say: Callable[..., Answer], tiny: Extractor) -> None:
    assert RunFolder.open(Path("run_active")).extractor == ExtractorIdentity.from_json(
        str(tiny.identity)
    )
    code, out, _ = say("table", "run_passive", "run_active")
    assert code == 0
    assert "R@1" in out
    code, _, err = say("report", "run_passive", "run_active", "--output_dir", "new")
    assert code == 0, err
    page = Path("new/report.html").read_text()
    assert str(tiny.identity) in page
    noted = json.loads(Path("index_pq/manifest.json").read_text())["sha256"]
    assert f"IVF2,PQ4x8np L2 ({noted[:12]})" in page


@pytest.mark.parametrize("address", STORES)
def test_stores_are_searched_and_added_to(say: Callable[..., Answer], address: str) -> None:
    if address.startswith("lance"):
        pytest.importorskip("lance")
    given = ("search", "--store", address, *TINY, "--json", "released/chelsea.png")
    code, out, err = say(*given)
    assert code == 0
    assert err == (
        f"activeindex search: {address} is not calibrated, so nothing says whether a hit is a "
        f"copy: activeindex calibrate {address} --background FOLDER\n"
    )
    assert json.loads(out)["neighbours"][0]["name"] == "chelsea.jpg"
    shutil.copy("tiny.pt", "other.pt")
    code, _, err = say(*given, "--model_path", "other.pt")
    assert code == 2
    assert "expected features of tiny.pt (" in err
    code, out, _ = say("store", "add", address, "released")
    assert code == 0
    assert "0 images added, 0 of them activated; 4 were there already" in out
    with Store(address) as store:
        assert store.count() == 5
        assert store.get(store.named(["astronaut.jpg"]))[0].activated
    code, out, err = say("store", "add", address, "fts_references", "--force")
    assert code == 0, err
    assert "11 images added" in out


@pytest.mark.parametrize("address", ["faiss:new", "lance://new"])
def test_released_images_are_added_to_a_new_store(say: Callable[..., Answer], address: str) -> None:
    if address.startswith("lance"):
        pytest.importorskip("lance")
    assert say("store", "create", address, "--index", "index_pq")[0] == 0
    code, out, err = say("store", "add", address, "released")
    assert (code, err) == (0, "")
    assert "4 images added, 4 of them activated" in out
    assert say("store", "create", "faiss:nap", "--index", "index_nap")[0] == 0
    code, _, err = say("store", "add", "faiss:nap", "released")
    assert code == 2
    assert "was activated for the quantiser IVF2,PQ4x8np L2 (" in err
