"""The commands about extractors: ``models``, ``whiten``, and options that choose one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.collection import SIZE, Prepared
from tests.cli.conftest import Answer

Say = Callable[..., Answer]
NAMES = (
    *("lite0_copy", "sscd_disc_advanced", "sscd_disc_mixup", "sscd_disc_large"),
    *("dino_r50", "dino_vits", "isc_dt1"),
)
PROGRAM = (
    "model_path net.pt2: expected TorchScript, ONNX or .safetensors, found a torch.export program; "
    'in Python, as_extractor(torch.export.load("net.pt2").module(), input_size)\n'
)


def test_models_lists_what_there_is_and_what_is_here(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    place = tmp_path / "hub" / "checkpoints" / "dino_vits16.torchscript.pt"
    place.parent.mkdir(parents=True)
    place.touch()
    answer = say("models")
    assert (answer.code, answer.err) == (0, "")
    for name in NAMES:
        assert f"\n{name} " in "\n" + answer.out
    assert f"here: {place}" in answer.out
    absent = [name for name in NAMES if name not in ("dino_vits", "lite0_copy")]
    assert answer.out.count("not here; would be kept as") == len(absent)
    listed = {row["name"]: row for row in json.loads(say("models", "--json").out)}
    assert tuple(listed) == NAMES
    assert (listed["dino_vits"]["dimension"], listed["dino_vits"]["input_size"]) == (384, 224)
    assert listed["dino_vits"]["here"] == str(place)
    assert listed["isc_dt1"]["here"] is None
    assert listed["lite0_copy"]["default_place"] is None  # It comes with the package or not at all.
    assert [name for name, row in listed.items() if row["default"]] == ["lite0_copy"]
    assert answer.out.count("the default") == 1
    assert answer.out.endswith("TorchScript, ONNX and .safetensors files.\n")
    assert listed["isc_dt1"]["address"].startswith("https://")


def test_a_whitened_extractor_goes_through_extraction_and_index(
    prepared: Prepared, say: Say, tmp_path: Path
) -> None:
    out = tmp_path / "white.npz"
    answer = say("whiten", out, "--fts_training_path", prepared.training, "--dimension", 32)
    assert (answer.code, answer.err) == (0, "")
    assert "256 to 32 dimensions, fitted on 300 features of lite0_copy" in answer.out
    small = ("--resize_size", SIZE, "--workers", 0)
    extract = ("extract_fts", "--data_dir", prepared.images, "--output_dir", "fts", *small)
    assert say(*extract, "--whitening", out).code == 0
    note = json.loads((tmp_path / "fts" / "fts.json").read_text())
    assert len(note["extractor"]["whitening"]) == 64
    # The bare extractor is another one than what the features were made with.
    answer = say("extract_fts", "--data_dir", prepared.images, "--output_dir", "fts", *small)
    assert answer.code == 2
    assert "whitening" in answer.err
    answer = say(*extract[:5], "--whitening", out, "--resize_size", 96, "--output_dir", "other")
    assert answer.code == 2
    assert "fitted for lite0_copy" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model_name", "onnx"), "model_path: expected an ONNX file, found nothing"),
        (("--model_name", "pt2", "--model_path", "no.pt2"), "model_path no.pt2: expected a file"),
        (("--model_name", "pt2", "--model_path", "net.pt2"), PROGRAM),
        (("--model_path", "net.pt2"), PROGRAM),
        (
            ("--model_name", "pt2"),
            "model_name: expected torchscript, onnx, lite0_copy, sscd_disc_advanced, ",
        ),
        (("--pooling", "max"), "pooling: expected mean, gem or gem:P, found 'max'"),
        (("--pooling", "gem"), "pooling: expected a network that gives feature maps"),
        (("--whitening", "no.npz"), "whitening no.npz: expected a file, found nothing"),
        (
            ("--model_name", "dino_r50", "--model_path", "x"),
            "model_name: expected torchscript for a file (leave --model_name out), found",
        ),
    ],
)
def test_wrong_options_are_named(
    say: Say, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    (tmp_path / "net.pt2").touch()
    answer = say("extract_fts", "--data_dir", "images", "--output_dir", "fts", *options)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert message in answer.err


def test_whiten_refuses_too_few_features(say: Say, tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((4, 8), np.float32))
    answer = say("whiten", "w.npz", "--fts_training_path", "few.npy")
    assert answer.code == 2
    assert "expected more than 8 training features, found 4" in answer.err
    assert not (tmp_path / "w.npz").exists()
