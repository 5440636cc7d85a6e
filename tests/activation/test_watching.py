"""What a person sees while images are activated."""

import numpy as np
import pytest

from activeindex.activation.loop import Step
from activeindex.activation.results import ActivatedImage
from activeindex.activation.watching import LiveFigures
from activeindex.images.quality import Quality
from activeindex.runtime.reporting import Progress


class Shown(Progress):
    """A progress bar that keeps the last figures that it was asked to show."""

    def __init__(self) -> None:
        self.items = 0
        self.figures: dict[str, float] = {}

    def advance(self, items: int = 1, **figures: float) -> None:
        self.items += items
        self.figures = figures


def activated(psnr: float) -> ActivatedImage:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    quality = Quality(psnr, 0.97, 12)
    return ActivatedImage(
        b"", pixels, quality, budget_met=True, passes=10, aims=(), feature=np.zeros(4, np.float32)
    )


def test_running_loss_psnr_and_rate_are_shown() -> None:
    shown = Shown()
    figures = LiveFigures(shown)
    for number, losses in enumerate([(-0.4, -0.8), (-0.2, -0.6)]):
        for iteration, loss in enumerate(losses):
            figures.step(Step(number, iteration, loss, loss, 0.0))
    assert shown.figures["loss"] == pytest.approx(-0.7)
    figures.images([0, 1], [activated(38.0), activated(40.0)])
    assert shown.figures["psnr"] == 39.0
    assert shown.figures["img/s"] > 0
    assert shown.items == 0, "images are counted when they are searched for, too"
