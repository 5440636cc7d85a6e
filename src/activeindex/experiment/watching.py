"""Watching activation while it runs: curves for TensorBoard."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from activeindex.activation.loop import Step
from activeindex.activation.results import ActivatedImage
from activeindex.activation.settings import ActivationSettings
from activeindex.activation.watching import Watcher
from activeindex.errors import MissingExtraError


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
        for name in ("loss", "loss_f", "loss_i", "loss_m"):
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
