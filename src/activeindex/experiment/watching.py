"""Watching activation while it runs: figures in the progress bar, and curves for TensorBoard."""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from activeindex.activation import ActivatedImage, ActivationSettings, Step
from activeindex.errors import MissingExtraError
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

    The loss is the mean over the last 64 images of the last loss that each had, the PSNR their
    mean, and the rate that of activation alone: the bar's own counts editing and searching as well.

    Args:
        progress: The bar.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._losses: dict[int, float] = {}
        self._psnrs: deque[float] = deque(maxlen=_WINDOW)
        self._start: float | None = None
        self._shown: dict[str, float | str] = {}

    def step(self, step: Step) -> None:
        """Shows the running loss."""
        if self._start is None:
            self._start = time.perf_counter()
        self._losses.pop(step.number, None)
        self._losses[step.number] = step.loss
        if len(self._losses) > _WINDOW:
            self._losses.pop(next(iter(self._losses)))
        self._show(loss=statistics.fmean(self._losses.values()))

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """Shows the running PSNR and the rate of this batch."""
        self._psnrs.extend(image.quality.psnr for image in images)
        if self._start is not None:
            rate = len(images) / max(time.perf_counter() - self._start, 1e-9)
            self._show(psnr=statistics.fmean(self._psnrs), activated=f"{rate:.2f}/s")
        self._start = None

    def _show(self, **figures: float | str) -> None:
        self._shown |= figures
        self._progress.advance(0, **self._shown)


class TensorBoard:
    """Losses of every step and the quality of every image, as TensorBoard's event files.

    Args:
        folder: Where they go; ``tensorboard --logdir`` reads it.
        iterations: Steps per image: step ``i`` of image ``n`` is drawn at ``n * iterations + i``.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, iterations: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tensorboard", "--tensorboard") from None
        self._writer: Any = SummaryWriter(str(folder))
        self._iterations = iterations

    def step(self, step: Step) -> None:
        """Draws the losses of a step."""
        place = step.number * self._iterations + step.iteration
        for name in ("loss", "loss_f", "loss_i"):
            self._writer.add_scalar(f"activation/{name}", getattr(step, name), place)

    def images(self, numbers: Sequence[int], images: Sequence[ActivatedImage]) -> None:
        """Draws the quality of images and how near they came to their targets."""
        for number, image in zip(numbers, images, strict=True):
            for name in ("psnr", "ssim", "linf"):
                self._writer.add_scalar(f"image/{name}", getattr(image.quality, name), number)
            for name in ("distance_before", "distance_after"):
                self._writer.add_scalar(f"image/{name}", getattr(image, name), number)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


@contextmanager
def watching(folder: Path | None, settings: ActivationSettings) -> Iterator[tuple[Watcher, ...]]:
    """The watchers that a command asks for: TensorBoard's files in ``folder``, if there is one.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """
    if folder is None:
        yield ()
        return
    with closing(TensorBoard(folder, settings.iterations)) as board:
        yield (board,)
