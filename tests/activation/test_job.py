"""What a person sees while images are activated."""

from pathlib import Path

import numpy as np
import pytest

from activeindex.activation.job import Item, LiveFigures, Released
from activeindex.activation.loop import Step
from activeindex.activation.results import ActivatedImage
from activeindex.images.quality import Quality


def released(number: int, losses: tuple[float, ...], psnr: float) -> Released:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    quality = Quality(psnr, 0.97, 12)
    feature = np.zeros(4, np.float32)
    image = ActivatedImage(
        b"",
        pixels,
        quality,
        budget_met=True,
        passes=10,
        aims=(),
        feature=feature,
        released_feature=feature,
    )
    item = Item(number, Path("a.png"), "a.png", None)
    steps = tuple(Step(number, iteration, x, x, 0.0) for iteration, x in enumerate(losses))
    return Released(item, None, image, b"{}", steps, (), {"activate": 0.5})


def test_running_loss_psnr_and_rate_are_means_over_the_images() -> None:
    figures = LiveFigures()
    figures.of(released(0, (-0.4, -0.8), 38.0))
    assert figures.of(released(1, (-0.2, -0.6), 40.0)) == {
        "loss": pytest.approx(-0.7),
        "psnr": pytest.approx(39.0),
        "img/s": pytest.approx(2.0),
    }
