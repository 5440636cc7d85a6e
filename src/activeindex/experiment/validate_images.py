"""Whether images can be decoded, found out before hours of work depend on it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from activeindex.errors import UnreadableImageError
from activeindex.images.decoding import read_rgb
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.progress import Progress

_TOGETHER = 64


def check_readable(paths: Sequence[Path], engine: Engine, progress: Progress) -> None:
    """Decodes images, and forgets them.

    Args:
        paths: Their files.
        engine: Who decodes.
        progress: Told of every image.

    Raises:
        UnreadableImageError: At the first that cannot be decoded.
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
        """Yields the first error of each batch."""
        for batch in items:
            found = workers.map(_error_of, batch)
            yield next((error for error in list(found) if error is not None), None)


def _error_of(path: Path) -> UnreadableImageError | None:
    try:
        read_rgb(path)
    except UnreadableImageError as error:
        return error
    return None
