"""Watching activation while it runs: curves for TensorBoard."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from activeindex.activation.job import Released
from activeindex.activation.loop import Step
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import import_extra


class TensorBoard:
    """Losses of every step and the quality of every image, as TensorBoard's event files.

    Args:
        folder: Where they go; ``tensorboard --logdir`` reads it.
        iterations: Steps per image: step ``i`` of image ``n`` is drawn at ``n * iterations + i``.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, iterations: int) -> None:
        library = import_extra("torch.utils.tensorboard", "tensorboard", "--tensorboard")
        self._writer = library.SummaryWriter(str(folder))
        self._iterations = iterations

    def __call__(self, event: object) -> None:
        """Draws the losses of a step, or the quality of an image and how near its target it is."""
        if isinstance(event, Step):
            place = event.number * self._iterations + event.iteration
            for name in ("loss", "loss_f", "loss_i", "loss_m"):
                self._writer.add_scalar(f"activation/{name}", getattr(event, name), place)
        elif isinstance(event, Released) and event.image is not None:
            number, image = event.item.number, event.image
            for name in ("psnr", "ssim", "linf"):
                self._writer.add_scalar(f"image/{name}", getattr(image.quality, name), number)
            for name in ("distance_before", "distance_after"):
                self._writer.add_scalar(f"image/{name}", getattr(image, name), number)
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


@contextmanager
def watching(
    folder: Path | None, settings: ActivationSettings
) -> Iterator[tuple["TensorBoard", ...]]:
    """The listeners that a command asks for: TensorBoard's files in ``folder``, if there is one.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """
    if folder is None:
        yield ()
        return
    with closing(TensorBoard(folder, settings.iterations)) as board:
        yield (board,)
