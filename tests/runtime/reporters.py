"""Reporters that tests watch or stop a computation with."""

from collections.abc import Iterator
from contextlib import contextmanager

from activeindex.runtime.reporting import Progress, Reporter


class Showing(Reporter):
    """Reports the progress of every stage to one object."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    @contextmanager
    def stage(self, *_: object, **__: object) -> Iterator[Progress]:
        yield self.progress
