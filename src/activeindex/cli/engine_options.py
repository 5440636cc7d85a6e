"""Options that choose an engine: this machine, or a Ray cluster."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activeindex.cli.from_settings import add_settings
from activeindex.errors import InputError
from activeindex.runtime.fields import option
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import Reporter

if TYPE_CHECKING:
    from activeindex.runtime.ray_workers import RayWorkers

IN_PROCESS = "in-process"


@dataclass(frozen=True)
class EngineOptions:
    """Options of the engine."""

    engine: str = option(
        IN_PROCESS,
        "this process and its --workers, or workers of Ray, here or on a cluster; the results are "
        "the same",
        choices=(IN_PROCESS, "ray"),
    )
    address: str | None = option(
        None,
        "running Ray cluster to join, or auto; without it one starts on this machine",
        metavar="HOST:PORT",
    )
    ray_workers: int | None = option(
        None, "workers of Ray (default: as many as there is room for)", minimum=1, metavar="N"
    )
    worker_cpus: int | None = option(
        None,
        "CPUs, and threads, of each worker of Ray (default: one, as --workers have, since the last "
        "bits of a feature depend on it; beside a GPU, its share of the machine's)",
        minimum=1,
        metavar="N",
    )


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of :class:`EngineOptions`."""
    add_settings(parser.add_argument_group("engine"), EngineOptions)


def chosen(args: argparse.Namespace, reporter: Reporter) -> "LocalEngine | RayWorkers":
    """The engine that the options ask for; nothing is started yet.

    Raises:
        InputError: If an option does not go with the engine.
        MissingExtraError: If Ray is asked for and not installed.
    """
    if args.engine == IN_PROCESS:
        for name in ("address", "ray_workers", "worker_cpus"):
            if getattr(args, name) is not None:
                raise InputError(f"{name}: expected --engine ray with it, found {IN_PROCESS}")
        return local(args)
    from activeindex.runtime.ray_workers import RayWorkers

    return RayWorkers(args.address, args.ray_workers, args.worker_cpus, args.device, reporter)


def local(args: argparse.Namespace) -> LocalEngine:
    """The engine of this machine: sharded on a CPU, with one thread a process.

    Raises:
        InputError: If there is no such device.
    """
    from activeindex.runtime.devices import on_device

    sharded = on_device(args.device, lambda device: device.type) == "cpu"
    if sharded:
        import torch

        torch.set_num_threads(1)
    return LocalEngine(args.workers, sharded=sharded)
