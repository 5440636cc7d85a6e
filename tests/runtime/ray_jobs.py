"""Jobs that a Ray worker imports."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from activeindex.errors import InputError
from activeindex.runtime.pool import LocalEngine


@dataclass(frozen=True)
class Squares:
    """Squares numbers, and says in which process; refuses one of them, dies of another.

    Attributes:
        loads: A file that gets a line each time that the job arrives in a worker.
        refused: The number that is an error.
        deadly: The number that ends the process.
    """

    loads: Path
    refused: int = -1
    deadly: int = -1

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        with self.loads.open("a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, items: Sequence[int], workers: LocalEngine) -> Iterator[tuple[int, int]]:
        for number in items:
            if number == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == self.refused:
                raise InputError(f"{number}: expected another number")
            yield number * number, os.getpid()


@dataclass(frozen=True)
class Errors:
    """Answers every item with an error, which is what it comes to."""

    def __call__(self, items: Sequence[int], workers: LocalEngine) -> Iterator[InputError]:
        yield from (InputError(f"{number}: a result") for number in items)
