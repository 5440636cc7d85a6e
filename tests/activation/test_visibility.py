"""Released pictures are changed unseen: in the dark, in blue, and within a bound on SSIMULACRA2."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import activeindex as ai
from activeindex.activation import render
from activeindex.activation.budget import amplitude_of_score
from activeindex.activation.folder import activate_folder
from activeindex.activation.perceptual import even_mask, jnd_in_strips, squash
from activeindex.activation.settings import PAPER, PRESETS, Budget, score_of_error
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.images.decoding import read_pixels
from activeindex.images.levels import Pixels, from_levels, resized, stack_levels
from activeindex.images.ssimulacra2 import ssimulacra2

FEW: dict[str, Any] = {"preset": "fast", "iterations": 2}


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return ai.load_extractor("lite0_copy")


def made(kind: str, photographs: dict[str, Pixels]) -> Pixels:
    """A small picture of a kind on which changes are easily seen."""
    if kind == "dark":
        return photographs["rocket"][:160, :192] // np.uint8(4)
    if kind == "grey":
        return photographs["camera"][100:260, 100:292]
    if kind == "flat":
        return np.full((160, 192, 3), (20, 40, 90), np.uint8)
    graphic = np.full((160, 192, 3), 255, np.uint8)
    graphic[40:60, 20:170], graphic[80:140, 60:90] = (200, 30, 30), 0
    return graphic


def test_the_even_mask_is_the_same_everywhere_but_in_the_dark() -> None:
    levels = torch.tensor([0.0, 24.0, 40.0, 80.0, 255.0])
    flat = (levels / 255.0)[:, None, None, None].expand(5, 3, 9, 9)
    mask = (even_mask(flat)[:, 0, 4, 4] * 255.0).tolist()
    assert mask == pytest.approx([3.15, 3.15, 5.25, 10.5, 10.5], rel=1e-5)


def test_the_even_mask_is_the_same_in_strips(photographs: dict[str, Pixels]) -> None:
    levels = stack_levels([photographs["rocket"]])
    assert torch.equal(jnd_in_strips(levels, "even"), even_mask(from_levels(levels)))


@pytest.mark.parametrize("shape", [(224, 224), (300, 131), (48, 64)])
def test_fine_blue_keeps_coarse_changes_out_of_blue_alone(shape: tuple[int, int]) -> None:
    noise = torch.randn((1, 3, *shape), generator=torch.Generator().manual_seed(0))
    free = noise + torch.linspace(-1.0, 1.0, shape[1])
    before, after = (squash(free, PAPER.replace(fine_blue=fine)) for fine in (False, True))
    assert torch.equal(after[:, :2], before[:, :2])
    coarse, left = (resized(each[:, 2:], (8, 8)).abs().mean() for each in (before, after))
    assert left < 0.2 * coarse


def test_presets_but_the_papers_have_the_even_mask() -> None:
    even = [name for name, each in PRESETS.items() if each.settings.mask == "even"]
    assert even == [name for name, each in PRESETS.items() if each.settings.fine_blue]
    assert set(even) == set(PRESETS) - {"paper"}


@pytest.mark.parametrize("kind", ["dark", "grey", "flat", "graphic"])
@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_the_file_keeps_a_bound_on_ssimulacra2(
    photographs: dict[str, Pixels],
    lite0: Extractor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    form: str,
) -> None:
    scores: list[float] = []

    def counted(*pictures: Pixels) -> float:
        scores.append(ssimulacra2(*pictures))
        return scores[-1]

    monkeypatch.setattr(render, "ssimulacra2", counted)
    original, bound = made(kind, photographs), 90.0 if form == "png" else 75.0
    asked: dict[str, Any] = {"format": form, "quality": None if form == "png" else 98}
    result = ai.activate(original, extractor=lite0, ssimulacra2=bound, **asked, **FEW)
    result.save(tmp_path)
    seen = read_pixels(next(tmp_path.glob("*.[pj][np]g")))
    assert result[0].budget_met
    assert result[0].ssimulacra2 == pytest.approx(ssimulacra2(original, seen))
    assert (result[0].ssimulacra2 or 0.0) >= bound
    # For JPEG also the codec's own loss, and the file if it is left as it was.
    assert len(scores) <= (3 if form == "png" else 5)
    if kind == "grey":
        assert np.array_equal(seen[..., 0], seen[..., 2])


def test_other_bounds_hold_beside_it(photographs: dict[str, Pixels], lite0: Extractor) -> None:
    original = photographs["astronaut"][:200, 100:320]
    image = ai.activate(original, extractor=lite0, ssimulacra2=85, psnr=45, linf=4, **FEW)[0]
    assert image.ssimulacra2 is not None
    assert image.ssimulacra2 >= 85
    assert image.psnr >= 45
    assert image.linf <= 4


def test_a_picture_that_cannot_be_changed_unseen_is_said_to_be_so(
    lite0: Extractor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (96, 80)).save(tmp_path / "in" / "black.png")
    done = activate_folder(
        tmp_path / "in", tmp_path / "out", extractor=lite0, ssimulacra2=99.99, **FEW
    )
    why = "no change keeps ssimulacra2 >= 99.99"
    assert len(done.warnings) == 1
    assert f"black.png: left as it was, since {why}" in done.warnings[0]
    record = json.loads(done.records.read_text())
    assert record["unchanged"] == why
    assert (record["psnr"], record["linf"], record["ssimulacra2"]) == (None, 0, 100.0)
    assert record["budget_met"]


def test_measures_come_into_records_and_tables(
    photographs: dict[str, Pixels], lite0: Extractor
) -> None:
    original, names = photographs["coffee"][:160, :160], ("ssimulacra2", "delta_e")
    plain, full = (
        ai.activate(original, extractor=lite0, measure=measure, psnr=42, **FEW)
        for measure in ((), names)
    )
    assert np.array_equal(plain[0].pixels, full[0].pixels)
    assert not set(names) & (set(plain[0].record) | set(plain.to_pandas().columns))
    assert full[0].record["ssimulacra2"] == ssimulacra2(original, full[0].pixels)
    assert 0.0 < full[0].record["delta_e"] < 10.0
    assert list(full.to_pandas()[list(names)].iloc[0]) == [full[0].ssimulacra2, full[0].delta_e]


def test_an_unknown_measure_is_refused(lite0: Extractor) -> None:
    with pytest.raises(InputError, match="measure: expected some of ssimulacra2, delta_e, found"):
        ai.activate(np.zeros((32, 32, 3), np.uint8), extractor=lite0, measure="vmaf", **FEW)


@pytest.mark.parametrize("bound", [0, 100, -3.0])
def test_a_bound_out_of_range_is_refused(bound: float) -> None:
    with pytest.raises(InputError, match="ssimulacra2: expected a number between 0 and 100, found"):
        Budget(ssimulacra2=bound)


@pytest.mark.parametrize("power", [1.0, 1.3, 1.7])
@pytest.mark.parametrize("error", [0.5, 3.0, 8.0])
def test_three_scores_find_an_amplitude(power: float, error: float) -> None:
    scores: list[float] = []

    def score_at(amplitude: float) -> float:
        scores.append(score_of_error(error * amplitude**power))
        return scores[-1]

    amplitude = amplitude_of_score(score_at, 85.0, 1.0)
    assert len(scores) <= 3
    assert score_at(amplitude) >= 85.0
    assert amplitude == 1.0 or score_at(amplitude) < 86.0
