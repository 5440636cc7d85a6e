"""Watching activation while it runs: who is told of it, and figures beside a progress bar."""

import statistics
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from activeindex.activation.loop import Step
from activeindex.activation.results import ActivatedImage
from activeindex.runtime.progress import Progress

_WINDOW = 64
"""Images that a running mean is over."""


class Watcher(Protocol):
    """What is told of every step and of every activated image."""

    def step(self, step: Step) -> None:
        """Before each step of each image."""

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """After each batch; images that workers elsewhere activated are without pixels and file."""


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


@dataclass(frozen=True)
class RecordedEvents:
    """A watcher in another process than those that are to be told.

    Attributes:
        steps: That were taken.
        numbers: Of the activated images.
        activated: These, without pixels and file.
    """

    steps: list[Step] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    activated: list[ActivatedImage] = field(default_factory=list)

    def step(self, step: Step) -> None:
        """Notes a step."""
        self.steps.append(step)

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """Notes activated images."""
        bare = np.empty((0, 0, 3), np.uint8)
        self.numbers.extend(numbers)
        self.activated.extend(replace(image, data=b"", pixels=bare) for image in images)

    def tell(self, watchers: Iterable[Watcher]) -> None:
        """Tells others, if anything was noted.

        The images come first: a rate is then that at which images arrive.
        """
        for watcher in watchers if self.activated else ():
            watcher.images(self.numbers, self.activated)
            for step in self.steps:
                watcher.step(step)
