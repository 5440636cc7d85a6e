import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.filters import gaussian

from activeindex.images.colours import ciede2000, to_lab, worst_difference
from activeindex.images.levels import Pixels, to_tensor


def test_differences_are_those_of_scikit_image() -> None:
    generator = np.random.default_rng(0)
    first = generator.random((40, 50, 3))
    second = np.clip(first + generator.normal(0.0, 0.05, first.shape), 0.0, 1.0)
    second[:10] = generator.random((10, 50, 3))  # Hues on opposite sides.
    labs = [to_lab(torch.from_numpy(each).permute(2, 0, 1)[None]) for each in (first, second)]
    assert np.allclose(labs[0][0].permute(1, 2, 0).numpy(), rgb2lab(first), atol=0.01)
    expected = deltaE_ciede2000(  # type: ignore[no-untyped-call]
        rgb2lab(first), rgb2lab(second)
    )
    assert np.allclose(ciede2000(*labs)[0, 0].numpy(), expected, atol=0.02)


def test_the_worst_region_is_the_one_that_was_changed(photographs: dict[str, Pixels]) -> None:
    original = photographs["astronaut"][:160, :150]
    changed = original.copy()
    changed[64:96, 32:64, 2] = np.minimum(changed[64:96, 32:64, 2] + np.uint8(9), 255)
    here, there = (
        rgb2lab(gaussian(each / 255.0, 1.5, channel_axis=2))  # type: ignore[no-untyped-call]
        for each in (original, changed)
    )
    differences = deltaE_ciede2000(here, there)  # type: ignore[no-untyped-call]
    expected = differences[64:96, 32:64].mean()
    assert worst_difference(original, changed) == pytest.approx(expected, abs=0.05)
    assert worst_difference(original, original) == 0.0


def test_grey_has_no_colour() -> None:
    lab = to_lab(to_tensor(np.full((1, 1, 3), 119, np.uint8))[None])
    assert lab[0, :, 0, 0].tolist() == pytest.approx([50.03, 0.0, 0.0], abs=0.02)
