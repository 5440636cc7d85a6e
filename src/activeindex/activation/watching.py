"""Watching activation while it runs: who is told of it, and figures beside a progress bar."""

import statistics
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from activeindex.activation.optimisation import Step
from activeindex.activation.results import ActivatedImage
from activeindex.running.progress import Progress

_WINDOW = 64
"""Images that a running mean is over."""


class Watcher(Protocol):
    """What is told of every step and of every activated image."""

    def step(self, step: Step) -> None:
        """Before each step of each image."""

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """After each batch."""


class LiveFigures:
    """Running loss, PSNR and images per second of activation, beside a progress bar.

    All are means over the last 64 images; the loss is the last one that each had. The rate is that
    of activation alone: the bar's own counts reading, editing and searching as well.

    Args:
        progress: The bar.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._losses: dict[int, float] = {}
        self._psnrs: deque[float] = deque(maxlen=_WINDOW)
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._start: float | None = None
        self._shown: dict[str, float] = {}

    def step(self, step: Step) -> None:
        """Shows the running loss."""
        if self._start is None:
            self._start = time.perf_counter()
        self._losses.pop(step.number, None)
        self._losses[step.number] = step.loss
        if len(self._losses) > _WINDOW:
            self._losses.pop(next(iter(self._losses)))
        self._show({"loss": statistics.fmean(self._losses.values())})

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """Shows the running PSNR and rate."""
        self._psnrs.extend(image.quality.psnr for image in images)
        figures: dict[str, float] = {"psnr": statistics.fmean(self._psnrs)}
        if self._start is not None:
            took = max(time.perf_counter() - self._start, 1e-9) / len(images)
            self._seconds.extend([took] * len(images))
            figures["img/s"] = 1 / statistics.fmean(self._seconds)
        self._start = None
        self._show(figures)

    def _show(self, figures: dict[str, float]) -> None:
        self._shown |= figures
        self._progress.advance(0, **self._shown)
