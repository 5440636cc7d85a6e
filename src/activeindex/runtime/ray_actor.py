"""Worker of a Ray cluster."""

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
    """Ray actor that runs a job on one block of items after another.

    Args:
        job: Object in Ray's store that holds the pickled job, which is loaded once.
        cpus: Number of threads and worker processes of this actor.
        gpus: Number of GPUs of this actor, 0 or 1.
        folder: Current folder of the main process, from which relative paths start; ignored where
            this machine has none of that name.
        version: Version of activeindex in the main process.
    """

    def __init__(self, job: Any, cpus: int, gpus: int, folder: str, version: str) -> None:
        import ray

        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ["LANCE_CPU_THREADS"] = str(cpus)  # Read when Lance first computes.
        self._helpers = LocalEngine(cpus if cpus > 1 else 0)
        # Ray would report an error raised here as its own; it is the answer to the first block.
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
        """Yield the pickled result of each item, or the error that ends the job."""
        try:
            if self._refusal is not None:
                raise self._refusal
            items = [pickle.loads(item) for item in block["item"]]
            for result in self._job(items, self._helpers):
                yield {"result": [pickle.dumps(result)]}
        except ActiveIndexError as error:
            yield {"result": [pickle.dumps(Ended(error))]}


def _limit_threads(count: int) -> None:
    """Limit the threads of the libraries that the job has imported."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(count)
