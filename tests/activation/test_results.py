"""The Python entry: whatever stands for images and an index, to results that can be used."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.activation.activate import activate
from activeindex.activation.folder import activate_folder
from activeindex.activation.objective import feature_loss
from activeindex.activation.records import RECORDS_FILE
from activeindex.activation.results import ActivationResult, output_names
from activeindex.activation.settings import PAPER, Preset, ReleaseSettings
from activeindex.errors import InputError
from activeindex.extractors.feature_files import read_features
from activeindex.images.coerce import Images
from activeindex.images.decoding import read_pixels
from activeindex.images.formats import FileFormat
from activeindex.images.levels import Pixels
from tests.extractors.linear import LinearExtractor, linear_quantiser

FEW: dict[str, Any] = {"preset": "paper", "iterations": 2}


@pytest.fixture(scope="module")
def pieces(photographs: dict[str, Pixels]) -> list[Pixels]:
    return [pixels[100:140, 100 : 140 + 2 * n] for n, pixels in enumerate(photographs.values())][:3]


@pytest.fixture(scope="module")
def result(pieces: list[Pixels]) -> ActivationResult:
    images: Images = [Image.fromarray(pieces[0]), pieces[1], pieces[2] / np.float32(255)]
    return activate(images, linear_quantiser(), LinearExtractor(), **FEW)


def test_a_result_indexes_iterates_and_prints_a_table(
    result: ActivationResult, pieces: list[Pixels]
) -> None:
    assert len(result) == len(list(result)) == 3
    for image, pixels in zip(result, pieces, strict=True):
        assert image.psnr == image.quality.psnr > 25
        assert np.array_equal(np.asarray(image.image), image.pixels)
        assert image.image.size == (pixels.shape[1], pixels.shape[0])
    *rows, summary = str(result).splitlines()
    assert len(rows) == 3
    assert f"PSNR {result[1].psnr:.2f} dB" in rows[1]
    assert summary.startswith(f"3 images: PSNR {result.psnr:.2f} dB")
    assert str(ActivationResult(())) == "0 images"


def test_an_image_gives_the_same_file_alone_and_as_array_of_either_kind(
    result: ActivationResult, pieces: list[Pixels]
) -> None:
    for position, same in (
        (0, pieces[0]),
        (1, torch.from_numpy(pieces[1].transpose(2, 0, 1) / np.float32(255))),
        (2, Image.fromarray(pieces[2])),
    ):
        alone = activate(same, linear_quantiser(), LinearExtractor(), **FEW)
        assert alone[0].data == result[position].data


def test_a_file_is_activated_as_in_a_folder_and_saved_like_one(
    tmp_path: Path, pieces: list[Pixels]
) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name, pixels in zip(("a.png", "b.bmp", "sub/c.png"), pieces, strict=True):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    asked = (linear_quantiser(), LinearExtractor())
    activate_folder(tmp_path / "in", tmp_path / "folder", *asked, **FEW)
    activate(str(tmp_path / "in"), *asked, **FEW).save(str(tmp_path / "saved"))
    written = [path for path in (tmp_path / "folder").rglob("*") if path.name != "activation.json"]
    for path in written:
        if path.is_file():
            found = tmp_path / "saved" / path.relative_to(tmp_path / "folder")
            assert found.read_bytes() == path.read_bytes()


def test_images_without_a_name_are_saved_by_their_number(
    tmp_path: Path, result: ActivationResult
) -> None:
    assert result.save(tmp_path) == tmp_path
    records = [json.loads(line) for line in (tmp_path / RECORDS_FILE).read_text().splitlines()]
    assert [record["output"] for record in records] == ["00000.png", "00001.png", "00002.png"]
    for record, image in zip(records, result, strict=True):
        assert np.array_equal(read_pixels(tmp_path / record["output"]), image.pixels)
        assert record["code"] == image.code.hex()
    features = read_features(tmp_path / "fts.pt", "fts").values
    assert np.array_equal(features, [image.feature for image in result])


def test_names_are_those_that_are_given(tmp_path: Path, pieces: list[Pixels]) -> None:
    asked = (linear_quantiser(), LinearExtractor())
    result = activate(pieces[:2], *asked, names=["x/a.jpg", None], format="webp", **FEW)
    result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.webp")) == ["00001.webp", "a.webp"]
    with pytest.raises(InputError, match=r"^names: expected 2, one per image, found 1$"):
        activate(pieces[:2], *asked, names=["a"], **FEW)
    outside = activate(pieces[:1], *asked, names=["../a.png"], **FEW)
    with pytest.raises(
        InputError, match=r"^image: expected a name within the folder .*'\.\./a\.png'$"
    ):
        outside.save(tmp_path / "in")


def test_two_images_of_one_name_are_not_saved(tmp_path: Path, pieces: list[Pixels]) -> None:
    for folder, pixels in zip("ab", pieces, strict=False):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "x.png")
    files = [tmp_path / folder / "x.png" for folder in "ab"]
    result = activate(files, linear_quantiser(), LinearExtractor(), **FEW)
    with pytest.raises(InputError, match=r"^names: expected each once, found x\.png twice; give "):
        result.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_names_of_nothing_are_none() -> None:
    assert output_names([], ".png") == []


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_may_have_switched_gradients_off(
    result: ActivationResult, pieces: list[Pixels], mode: Any
) -> None:
    index, extractor = linear_quantiser(), LinearExtractor()
    with mode():
        found = activate(pieces[1], index, extractor, **FEW)
    assert found[0].data == result[1].data


class _Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # Cannot be copied.

    def __call__(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (features - targets).square().sum(dim=1)


def test_a_loss_that_holds_anything_goes_by_its_name(pieces: list[Pixels]) -> None:
    asked = (linear_quantiser(), LinearExtractor())
    found = activate(pieces[:1], *asked, loss_f=_Locked(), **FEW)
    assert found[0].record["settings"]["loss_f"] == f"{__name__}:_Locked"


def test_a_preset_of_ones_own_keeps_its_format_under_another_budget(pieces: list[Pixels]) -> None:
    own = Preset(PAPER.replace(iterations=1), ReleaseSettings(FileFormat("webp", 80)))
    asked = (linear_quantiser(), LinearExtractor())
    record = activate(pieces[:1], *asked, preset=own, psnr=30.0)[0].record
    assert (record["format"], record["quality"]) == ("webp", 80)
    record = activate(pieces[:1], *asked, preset=own, format="png")[0].record
    assert (record["format"], record["quality"]) == ("png", None)


def test_numbers_of_numpy_are_numbers(tmp_path: Path, pieces: list[Pixels]) -> None:
    numbers: dict[str, Any] = {
        **{"seed": np.int64(3), "iterations": np.int64(1), "lambda_f": np.float32(1)},
        **{"psnr": np.float32(45), "linf": np.int32(20)},
    }
    result = activate(pieces[:1], linear_quantiser(), LinearExtractor(), preset="fast", **numbers)
    result.save(tmp_path)
    record = json.loads((tmp_path / RECORDS_FILE).read_text())
    assert record["seed"] == 3
    assert record["settings"]["iterations"] == 1
    assert record["budget"]["linf"] == 20


def test_bounds_and_settings_take_the_place_of_the_presets(pieces: list[Pixels]) -> None:
    asked = (linear_quantiser(), LinearExtractor())
    found = activate(pieces[0], *asked, preset="fast", psnr=45.0, iterations=1)[0]
    assert found.psnr >= 45.0
    assert found.passes == 1
    assert found.record["budget"]["psnr"] == 45.0
    assert activate(pieces[0], *asked, preset="fast", iterations=1)[0].psnr >= 42.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"preset": "best"},
            r"^preset: expected one of paper, thorough, deep, fast, harden, found 'best'",
        ),
        (
            {"iteration": 3},
            r"^activate: expected fields of ActivationSettings, found 'iteration'; did you mean "
            r"iterations\?$",
        ),
        ({"loss_f": "l1"}, r"^loss_f: expected one of cossim, mse or your own as package\.module:"),
        ({"preset": None}, r"^preset: expected a name or a Preset, found None$"),
        ({"seed": -1}, r"^seed: expected 0 or more, found -1$"),
        ({"seed": 0.5}, r"^seed: expected a whole number, found 0\.5$"),
        ({"linf": 2.5}, r"^linf: expected a whole number, found 2\.5$"),
        ({"psnr": "42"}, r"^psnr: expected a number, found '42'$"),
        ({"format": "webp", "quality": 90.5}, r"^quality: expected a whole number, found 90\.5$"),
        ({"psnr": -1.0}, r"^psnr: expected a positive number of dB, found -1\.0$"),
        ({"format": "gif"}, r"^format: expected one of png, jpeg, webp, found 'gif'$"),
    ],
)
def test_arguments_that_are_not_what_they_should_be_are_refused(
    pieces: list[Pixels], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        activate(pieces, linear_quantiser(), LinearExtractor(), **options)
    with pytest.raises(InputError, match=r"^index: expected one for features of .* found none"):
        activate(pieces, None, LinearExtractor())


def test_a_loss_and_a_target_of_ones_own_are_callables_or_named(
    tmp_path: Path, pieces: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "def negative_product(features, targets):\n    return -(features * targets).sum(dim=1)\n"
        "def doubled(features, quantiser):\n    return 2 * quantiser.reconstruct(features)\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = (linear_quantiser(), LinearExtractor())
    named = activate(
        pieces[0], *asked, loss_f="mine:negative_product", target="mine:doubled", **FEW
    )
    from mine import doubled, negative_product  # type: ignore[import-not-found]

    given = activate(pieces[0], *asked, loss_f=negative_product, target=doubled, **FEW)
    assert named[0].data == given[0].data
    assert given[0].data != activate(pieces[0], *asked, **FEW)[0].data
    feature = given[0].feature[None]
    far = np.linalg.norm(feature - 2 * linear_quantiser().reconstruct(feature))
    assert given[0].distance_before == pytest.approx(far, rel=1e-5)
    settings = given[0].record["settings"]
    assert (settings["loss_f"], settings["target"]) == ("mine:negative_product", "mine:doubled")
    # What cannot be pickled works in this process.
    notebook = activate(pieces[0], *asked, loss_f=lambda a, b: -(a * b).sum(dim=1), **FEW)
    assert notebook[0].record["settings"]["loss_f"].endswith("<lambda>")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss_f": lambda a, b: (a - b).sum()},
            r"^loss_f .*: expected a tensor of shape \(1,\), ",
        ),
        (
            {"target": lambda f, q: f[:, :2]},
            r"^target .*: expected shape \(1, 8\), found \(1, 2\)$",
        ),
        ({"target": lambda f, q: f * np.nan}, r"^target .*: expected finite values, found NaN or "),
        ({"loss_f": "no_such:loss"}, r"^loss_f: cannot import 'no_such' \(No module named 'no_su"),
        ({"loss_f": "math:pi"}, r"^loss_f: expected a callable 'pi' in 'math', found 3\.14"),
    ],
)
def test_a_loss_or_target_that_gives_something_else_is_refused(
    pieces: list[Pixels], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        activate(pieces[0], linear_quantiser(), LinearExtractor(), **options, **FEW)


@pytest.mark.parametrize(
    "options",
    [
        {"loss_f": lambda features, targets: (features - targets).sum(dim=1) * float("nan")},
        {"optimizer": "SGD,lr=1e38", "use_tanh": False},
    ],
)
def test_a_distortion_that_is_not_finite_is_refused(
    pieces: list[Pixels], options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"^loss_f, optimizer: expected steps to finite "):
        activate(pieces[:1], linear_quantiser(), LinearExtractor(), preset="fast", **options)


@pytest.mark.parametrize("budget", [{"psnr": 40.0}, {"ssim": 0.9}])
def test_a_distortion_of_nothing_leaves_an_image_as_it_is(
    pieces: list[Pixels], budget: dict[str, Any]
) -> None:
    asked = (linear_quantiser(), LinearExtractor())
    (image,) = activate(pieces[:1], *asked, preset="fast", scaling=0.0, **budget)
    assert np.array_equal(image.pixels, pieces[0])


def test_a_loss_of_ones_own_is_called_with_features_and_targets() -> None:
    first, second = torch.rand(4, 3), torch.rand(4, 3)
    loss = feature_loss(lambda a, b: (a - b).abs().sum(dim=1), first, second)
    assert torch.equal(loss, (first - second).abs().sum(dim=1))
