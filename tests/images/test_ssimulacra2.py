from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ssimulacra2 import compute_ssimulacra2

from activeindex.errors import ShapeError
from activeindex.images.levels import Pixels
from activeindex.images.ssimulacra2 import score, ssimulacra2


def noisy(pixels: Pixels, levels: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0.0, levels, pixels.shape).round()
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def waves(pixels: Pixels, levels: float) -> Pixels:
    """Slow changes of blue alone."""
    wave = np.zeros(pixels.shape)
    wave[..., 2] = levels * np.sin(np.arange(pixels.shape[1]) / 9.0)
    return np.clip(pixels + wave.round(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["rocket", "astronaut", "camera"])
@pytest.mark.parametrize("levels", [0.4, 2.0, 9.0])
@pytest.mark.parametrize("change", [noisy, waves])
@pytest.mark.parametrize("size", [(149, 203), (64, 9)])
def test_scores_are_those_of_the_package(
    photographs: dict[str, Pixels],
    tmp_path: Path,
    name: str,
    levels: float,
    change: Callable[[Pixels, float], Pixels],
    size: tuple[int, int],
) -> None:
    original = photographs[name][40 : 40 + size[0], 60 : 60 + size[1]]
    changed = change(original, levels)
    for path, pixels in (("a.png", original), ("b.png", changed)):
        Image.fromarray(pixels).save(tmp_path / path)
    expected = compute_ssimulacra2(tmp_path / "a.png", tmp_path / "b.png")
    assert ssimulacra2(original, changed) == pytest.approx(expected, abs=0.01)


def test_scores_do_not_depend_on_strips(
    photographs: dict[str, Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = photographs["rocket"][:101, :90]
    changed = noisy(original, 3.0)
    whole = ssimulacra2(original, changed)
    monkeypatch.setattr("activeindex.images.levels._STRIP", 90 * 17)
    assert ssimulacra2(original, changed) == pytest.approx(whole, abs=1e-4)


def test_an_identical_picture_has_a_score_of_100(photographs: dict[str, Pixels]) -> None:
    assert ssimulacra2(photographs["camera"], photographs["camera"].copy()) == 100.0


def test_pictures_of_other_sizes_are_not_compared() -> None:
    with pytest.raises(ShapeError):
        ssimulacra2(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))


def test_large_pictures_are_scored_at_a_smaller_size() -> None:
    random = np.random.default_rng(0)
    small = random.integers(40, 200, (700, 800, 3), np.uint8)
    changed = np.clip(small + random.integers(-6, 7, small.shape), 0, 255).astype(np.uint8)
    large, large_changed = (each.repeat(2, 0).repeat(2, 1) for each in (small, changed))
    assert score(large, large_changed) == ssimulacra2(small, changed)
    assert score(small, changed) == ssimulacra2(small, changed)
    odd = large[:1399, :1599]
    assert score(odd, odd) == 100.0
