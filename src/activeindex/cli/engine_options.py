"""Options that choose an engine: processes of this machine, or workers on a Ray cluster."""

import argparse
from typing import TYPE_CHECKING

from activeindex.cli.from_settings import add_option
from activeindex.errors import InputError
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import Reporter

if TYPE_CHECKING:
    from activeindex.runtime.ray_workers import RayWorkers

IN_PROCESS = "in-process"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--engine`` and the options of a Ray cluster."""
    group = parser.add_argument_group("engine")
    add_option(
        group,
        "engine",
        str,
        "this process and its --workers, or workers of Ray, here or on a cluster; the results are "
        "the same",
        IN_PROCESS,
        choices=(IN_PROCESS, "ray"),
    )
    add_option(
        group,
        "address",
        str,
        "running Ray cluster to join, or auto; without it one starts on this machine",
        metavar="HOST:PORT",
    )
    add_option(
        group,
        "ray_workers",
        int,
        "workers of the ray engine (default: as many as the cluster has room for)",
        minimum=1,
        metavar="N",
    )
    add_option(
        group,
        "worker_cpus",
        int,
        "CPUs, and threads, of each Ray worker (default: one, as --workers have, since the last "
        "bits of a feature depend on it; beside a GPU, its share of the machine's)",
        minimum=1,
        metavar="N",
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
        options.address, options.ray_workers, options.worker_cpus, options.device, reporter
    )


def local_workers(options: argparse.Namespace) -> LocalEngine:
    """The engine of this machine: sharded on a CPU, with one thread in this process, too.

    Raises:
        InputError: If there is no such device.
    """
    from activeindex.runtime.devices import on_device

    sharded = on_device(options.device, lambda device: device.type) == "cpu"
    if sharded:
        import torch

        torch.set_num_threads(1)
    return LocalEngine(options.workers, sharded=sharded)
