"""Validation of image files before hours of work depend on them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from activeindex.errors import UnreadableImageError
from activeindex.images.decoding import read_rgb
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import Progress

_TOGETHER = 64


def check_readable(paths: Sequence[Path], engine: Engine, progress: Progress) -> None:
    """Decode images and discard them.

    Args:
        paths: The files.
        engine: Engine that decodes.
        progress: Advanced by every image.

    Raises:
        UnreadableImageError: At the first file that cannot be decoded.
    """
    batches = [paths[first : first + _TOGETHER] for first in range(0, len(paths), _TOGETHER)]
    for batch, error in zip(batches, engine.run(ReadJob(), batches), strict=True):
        if error is not None:
            raise error
        progress.advance(len(batch))


class ReadJob:
    """Decodes batches of files; a :class:`~activeindex.runtime.pool.Job`."""

    def __call__(
        self, items: Sequence[Sequence[Path]], workers: LocalEngine
    ) -> Iterator[UnreadableImageError | None]:
        """Yield the first error of each batch."""
        for batch in items:
            # All of them: an iterator that is left early would leave its workers busy.
            errors = list(workers.map(_error_of, batch))
            yield next((error for error in errors if error is not None), None)


def _error_of(path: Path) -> UnreadableImageError | None:
    try:
        read_rgb(path)
    except UnreadableImageError as error:
        return error
    return None
