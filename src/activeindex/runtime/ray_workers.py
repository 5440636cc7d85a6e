"""Engine on a Ray cluster of one machine or many.

The items of a job become the rows of a Ray dataset, and actors map it. Each actor loads the job
(its extractor and its quantiser) once and computes an item as this process would. Results come back
in order, each once: Ray restarts a killed actor and repeats its items. Ray is imported when the
first job runs.
"""

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from activeindex import __version__
from activeindex.errors import ActiveIndexError, InputError, MissingExtraError, reason_of
from activeindex.runtime.cores import default_workers
from activeindex.runtime.pool import Job, LocalEngine
from activeindex.runtime.reporting import SILENT, Reporter, counted
from activeindex.runtime.search_path import (
    import_from_files,
    modules_of_current_folder,
    without_current_folder,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Shared memory of a local cluster in bytes; results are small and leave it at once.
_STORE = 512 << 20

# Repetitions of an item whose worker died; after these, the item is what kills workers.
_TRIES = 3

# Largest number of blocks of a dataset, well within what Ray can track.
_BLOCKS = 8192

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # No calls to machines outside the cluster.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Of its core, which writes to standard error.
}

_AUTH = "RAY_AUTH_MODE"

# Ray puts sockets below this folder, with some 65 characters more; the system takes 107.
_LONGEST_TMPDIR = 40

# Seconds to reach a cluster's first machine.
_CONNECT = 30.0


class RayWorkers(contextlib.AbstractContextManager["RayWorkers"]):
    """Engine that shards the items of a job over workers of a Ray cluster.

    Args:
        address: Running cluster, ``"auto"`` or ``HOST:PORT``; None starts one on this machine and
            ends it with :meth:`close`.
        count: Number of workers; None for as many as the cluster has room for.
        cpus: CPUs of each worker, and threads of its network; None for one, as
            :class:`~activeindex.runtime.pool.LocalEngine` has, or for a GPU's share of its
            machine's CPUs. Results of another number of threads differ in their last bits.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for GPUs if the cluster has any.
        reporter: Gets a line about the workers when they start.

    Raises:
        InputError: If a number is not positive.
        MissingExtraError: If Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        count: int | None = None,
        cpus: int | None = None,
        device: str = "auto",
        reporter: Reporter = SILENT,
    ) -> None:
        for name, value in (("ray_workers", count), ("worker_cpus", cpus)):
            if value is not None and value < 1:
                raise InputError(f"{name}: expected 1 or more, found {value}")
        if find_spec("ray") is None:
            raise MissingExtraError("ray", "ray", "--engine ray")
        self._address, self._count, self._cpus = address, count, cpus
        self._device, self._reporter = device.partition(":")[0], reporter
        self._ray: Any = None  # The module, while its cluster is this object's to leave.
        self._running: weakref.ref[Generator[Any]] | None = None

    def run(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Run a job; see :class:`~activeindex.runtime.pool.Engine`.

        The job and its items are pickled: paths in them lead to the same files on every machine.
        One job at a time: the next one ends the one before it.

        Raises:
            InputError: If the cluster cannot be reached or has no room for a worker, or the job
                cannot be pickled.
            ActiveIndexError: If an item ends every worker that takes it.
        """
        self._end_job()
        results = self._results(job, items)
        self._running = weakref.ref(results)
        return results

    def _end_job(self) -> None:
        """Free the workers of a job that its caller abandoned, as after an error.

        The traceback of that error may keep the iterator alive, and that its workers.
        """
        if self._running is not None and (results := self._running()) is not None:
            results.close()
        self._running = None

    def _results(self, job: Job[_Item, _Result], items: Sequence[_Item]) -> Generator[_Result]:
        if not items:
            return
        try:
            pickled, files = pickle.dumps(job), modules_of_current_folder()
        except Exception as error:  # Objects refuse to be pickled with anything.
            text = f"engine ray: expected a job that can be pickled ({reason_of(error)})"
            raise InputError(text) from None
        ray = self._start()
        cpus, gpus, count = self._room(ray, len(items))
        each = counted(cpus, "CPU") + (" and a GPU" if gpus else "")
        self._reporter.line(f"ray: workers with {each} each, {count} at most")
        # Kept until the last result: a worker that starts again asks for it again.
        shared = ray.put(pickled)
        results = _dataset(ray, items).map_batches(
            _Actor,
            fn_constructor_args=(shared, cpus, gpus, str(Path.cwd()), files, __version__),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=count, initial_size=count, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=_TRIES,
        )
        blocks = results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            # Closed at once, whatever happens here: it holds the workers.
            with contextlib.closing(iter(blocks)) as blocks:
                for block in blocks:
                    for value in block.column("result"):
                        result = pickle.loads(value.as_py())
                        if isinstance(result, _Ended):
                            raise result.error
                        yield result
        except ray.exceptions.RayActorError:
            raise ActiveIndexError(
                f"a worker ended abruptly, as did {_TRIES} others at the same images (killed for "
                "lack of memory?); start the same command again to go on"
            ) from None

    def _start(self) -> Any:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            with _undisturbed():
                import ray
                import ray.data
        except ModuleNotFoundError as error:
            missing = (error.name or "ray").partition(".")[0]
            raise MissingExtraError(missing, "ray", "--engine ray") from None
        if ray.is_initialized():
            return ray
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        address = self._address
        try:
            host, _, port = (address or "").rpartition(":")
            if host and port.isdecimal():  # Ray itself would try for a quarter of an hour.
                socket.create_connection((host, int(port)), _CONNECT).close()
            with _undisturbed():
                if address is None:
                    _start_here(ray, **quiet)
                else:
                    ray.init(address, **quiet)
        except Exception as error:  # Ray raises a dozen types, plain ones too.
            reason = reason_of(error)
            text = f"ray: expected to start on this machine ({reason})"
            if address is not None:
                # Ray sends its token to no address by itself.
                hint = "" if os.environ.get(_AUTH) else f"; {_AUTH}=token where it asks for a token"
                text = f"address {address}: expected a running Ray cluster ({reason}{hint})"
            raise InputError(text) from None
        self._ray = ray
        return ray

    def _room(self, ray: Any, items: int) -> tuple[int, int, int]:
        """CPUs and GPUs of each worker, and the number of workers."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        machines = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
        with_gpus = [machine for machine in machines if min(machine) > 0]
        if self._device == "cuda" and not with_gpus:
            raise InputError("device cuda: expected a GPU in the Ray cluster, found none")
        if self._device == "cpu":
            with_gpus = []
        if with_gpus:
            # A worker per GPU, and the CPUs shared out among them to decode.
            cpus = self._cpus or min(max(1, there // gpus) for there, gpus in with_gpus)
            room = sum(min(there // cpus, gpus) for there, gpus in with_gpus)
        else:
            cpus = self._cpus or 1
            room = sum(there // cpus for there, _ in machines)
        if room == 0:
            largest = max(there for there, _ in with_gpus or machines)
            text = f"expected at most the {largest} CPUs of the cluster's largest machine"
            raise InputError(f"worker_cpus: {text}, found {cpus}")
        return cpus, int(bool(with_gpus)), min(self._count or room, items)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._end_job()
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Silence Ray's core on standard error, and keep the handler of SIGTERM.

    Ray raises its errors besides, and its own handler would leave temporary files behind. It would
    also put the current folder on the search path of its workers, before everything else.
    """
    before, path = signal.getsignal(signal.SIGTERM), sys.path[:]
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        sys.path[:] = without_current_folder(path)
        with contextlib.chdir(os.sep):
            yield
    finally:
        sys.path[:] = path
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _start_here(ray: Any, **quiet: Any) -> None:
    """Start a cluster here; Ray gives up after 30 s, too early on a busy machine."""
    short = len(os.environ.get("TMPDIR", "")) <= _LONGEST_TMPDIR
    for left in reversed(range(_TRIES)):
        try:
            ray.init(
                "local",
                num_cpus=default_workers(),
                object_store_memory=_STORE,
                include_dashboard=False,
                _temp_dir=None if short else "/tmp/ray",
                **quiet,
            )
            return
        except Exception:
            ray.shutdown()
            if left == 0:
                raise


def _dataset(ray: Any, items: Sequence[Any]) -> Any:
    """Make a dataset with a row for each item, in blocks as small as Ray can track."""
    # Ray's own bars and messages would run through this program's.
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.max_consecutive_actor_init_deaths = _TRIES
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=__name__)
    rows = [{"item": pickle.dumps(item)} for item in items]
    return ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))


@dataclass(frozen=True)
class _Ended:
    """Error that ended a job, on its way back: a result may be an error, too."""

    error: Exception


class _Actor:
    """Ray actor that runs a job on one block of items after another.

    Args:
        job: Object in Ray's store that holds the pickled job, which is loaded once.
        cpus: Number of threads and worker processes of this actor.
        gpus: Number of GPUs of this actor, 0 or 1.
        folder: Current folder of the main process, from which relative paths start; ignored where
            this machine has none of that name.
        files: Modules that the main process has imported from there, and their files.
        version: Version of activeindex in the main process.
    """

    def __init__(
        self, job: Any, cpus: int, gpus: int, folder: str, files: dict[str, str], version: str
    ) -> None:
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
                text = f"expected {version} on every machine of the cluster, found {__version__}"
                raise InputError(f"activeindex: {text}")
            import_from_files(files)
            self._job = pickle.loads(ray.get(job))
        except ActiveIndexError as error:
            self._refusal = error
        except (AttributeError, ImportError) as error:
            self._refusal = InputError(
                f"engine ray: expected a job that its workers can import ({reason_of(error)})"
            )
        # Limits the libraries that the job has imported.
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(cpus)
        if faiss := sys.modules.get("faiss"):
            faiss.omp_set_num_threads(cpus)

    def __call__(self, block: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Yield the pickled result of each item, or the error that ends the job."""
        try:
            if self._refusal is not None:
                raise self._refusal
            items = [pickle.loads(item) for item in block["item"]]
            for result in self._job(items, self._helpers):
                yield {"result": [pickle.dumps(result)]}
        except ActiveIndexError as error:
            yield {"result": [pickle.dumps(_Ended(error))]}
