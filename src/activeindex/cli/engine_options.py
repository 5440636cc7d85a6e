"""Options that say who computes: processes of this machine, or workers on a Ray cluster."""

import argparse
from typing import TYPE_CHECKING

from activeindex.cli.options import whole
from activeindex.errors import InputError
from activeindex.runtime.reporting import Reporter

if TYPE_CHECKING:
    from activeindex.runtime.pool import LocalEngine
    from activeindex.runtime.ray_workers import RayWorkers

IN_PROCESS = "in-process"
RAY = "ray"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--engine`` and what goes with it."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        default=IN_PROCESS,
        choices=(IN_PROCESS, RAY),
        help="who computes: this process and its --workers, or workers that Ray runs, here or on a "
        "cluster; the results are the same",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a running Ray cluster to join, or auto; without it one starts on this machine",
    )
    group.add_argument(
        "--ray_workers",
        type=whole(1),
        metavar="N",
        help="workers of the ray engine (default: as many as the cluster has room for)",
    )
    group.add_argument(
        "--worker_cpus",
        type=whole(1),
        metavar="N",
        help="CPUs, and threads, of each of them (default: one, as --workers have, since the last "
        "bits of a feature depend on it; beside a GPU, its share of the machine's)",
    )


def chosen_workers(options: argparse.Namespace, reporter: Reporter) -> "LocalEngine | RayWorkers":
    """The engine that the options ask for; nothing is started yet.

    Raises:
        InputError: If an option does not go with the engine.
        MissingExtraError: If Ray is asked for and not installed.
    """
    if options.engine == IN_PROCESS:
        for name in ("address", "ray_workers", "worker_cpus"):
            if getattr(options, name) is not None:
                raise InputError(f"{name}: expected --engine ray with it, found {IN_PROCESS}")
        return local_workers(options)
    from activeindex.runtime.ray_workers import RayWorkers

    return RayWorkers(
        options.address, options.ray_workers, options.worker_cpus, options.device, reporter.line
    )


def local_workers(options: argparse.Namespace) -> "LocalEngine":
    """The engine on this machine: on a CPU its processes compute, each with one thread.

    Those that serve an accelerator decode and edit. Where this process computes, it is with one
    thread, too, so that its results are the same.

    Raises:
        InputError: If there is no such device.
    """
    from activeindex.runtime.devices import on_device
    from activeindex.runtime.pool import LocalEngine

    if on_device(options.device, lambda device: device.type) != "cpu":
        return LocalEngine(options.workers)
    import torch

    torch.set_num_threads(1)
    return LocalEngine(options.workers, sharded=True) if options.workers else LocalEngine(0)
