"""What runs in a worker of a Ray cluster."""

import contextlib
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from activeindex import __version__
from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.pool import LocalEngine


@dataclass(frozen=True)
class Ended:
    """Error that ended a job, on its way back: a result may be an error, too."""

    error: Exception


class Worker:
    """Carries out a job on one block of items after another; an actor of Ray's.

    Args:
        job: The object in Ray's store that holds the pickled job, loaded once.
        cpus: How many threads and helper processes this worker may have.
        gpus: How many GPUs are its own, 0 or 1.
        folder: The folder of the program that asks, which relative paths start from; left alone
            where this machine has none of that name.
        version: Of the program that asks.
    """

    def __init__(self, job: Any, cpus: int, gpus: int, folder: str, version: str) -> None:
        import ray

        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ["LANCE_CPU_THREADS"] = str(cpus)  # Read when Lance first computes.
        self._helpers = LocalEngine(cpus if cpus > 1 else 0)
        # An error raised here would end the actor and be told as Ray's: it is the answer instead.
        self._refusal: ActiveIndexError | None = None
        try:
            if version != __version__:
                raise InputError(
                    f"activeindex: expected {version} on every machine of the cluster, found "
                    f"{__version__}"
                )
            self._job = pickle.loads(ray.get(job))
        except ActiveIndexError as error:
            self._refusal = error
        _limit_threads(cpus)

    def __call__(self, block: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Yields the pickled result of each item, or the error that ends the job."""
        try:
            if self._refusal is not None:
                raise self._refusal
            items = [pickle.loads(item) for item in block["item"]]
            for result in self._job(items, self._helpers):
                yield {"result": [pickle.dumps(result)]}
        except ActiveIndexError as error:
            yield {"result": [pickle.dumps(Ended(error))]}


def _limit_threads(count: int) -> None:
    """Of the libraries that the job came with."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(count)
