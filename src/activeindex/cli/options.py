"""Options that several commands share, and the objects that they choose."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.activation.settings import (
    PRESETS,
    ActivationSettings,
    Budget,
    Preset,
    ReleaseSettings,
)
from activeindex.cli.from_settings import add_option, add_settings, settings_from, values_from
from activeindex.errors import (
    InputError,
    SomeFailedError,
    UnreadableImageError,
    did_you_mean,
)
from activeindex.images.formats import FileFormat
from activeindex.images.limits import DEFAULT_MAX_PIXELS, LARGEST_MAX_PIXELS
from activeindex.runtime.cores import default_workers
from activeindex.runtime.fields import option
from activeindex.runtime.files import check_file, check_folder
from activeindex.runtime.reporting import ConsoleReporter, Reporter, counted, listed

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor
    from activeindex.runtime.pool import LocalEngine
    from activeindex.runtime.ray_workers import RayWorkers

IN_PROCESS = "in-process"

# Values of --model_name where --model_path is the extractor itself.
_FILES = ("torchscript", "onnx")

# Skipped files that an error names.
_NAMED = 3


@dataclass(frozen=True)
class ExtractorOptions:
    """Options that choose an extractor."""

    model_name: str = option(
        "torchscript",
        "torchscript or onnx for the file at --model_path, torchscript for .safetensors too "
        "(without a file, it stands for lite0_copy); a name that `activeindex models` lists; "
        "timm:NAME or torchvision:NAME",
        metavar="NAME",
    )
    model_path: str | None = option(
        None,
        "TorchScript or ONNX file, .safetensors of this project's own training, or "
        "the checkpoint of a timm or torchvision network; the one that extracted the features. "
        "A TorchScript file is a program that runs here: take none from strangers",
        metavar="FILE",
    )
    resize_size: int | None = option(
        None,
        "side of the square that images are resized to, where the model is not made for another "
        "(default: 288)",
        minimum=32,
        metavar="PIXELS",
    )
    pooling: str | None = option(
        None,
        "pooling of a network's feature maps, timm's included: mean, gem or gem:P",
        metavar="KIND",
    )
    whitening: str | None = option(
        None, "whitening of the features, made by `activeindex whiten`", metavar="FILE"
    )
    device: str = option("auto", "cpu, cuda, cuda:1, …; auto takes a GPU if there is one")


@dataclass(frozen=True)
class EngineOptions:
    """Options that choose an engine: this machine, or a Ray cluster."""

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


@dataclass(frozen=True)
class RunOptions:
    """Options of every command that computes."""

    workers: int = option(
        default_workers(),
        "processes that decode and edit images, and on a CPU compute as well, each with one "
        "thread; 0 for none but this one",
        minimum=0,
        metavar="N",
    )
    max_pixels: int = option(
        DEFAULT_MAX_PIXELS,
        "most pixels of a picture; one with more is refused before it is decoded "
        "(docs/pictures.md)",
        minimum=1,
        maximum=LARGEST_MAX_PIXELS,
        metavar="N",
    )
    verbose: int = option(1, "0 prints errors only", metavar="LEVEL")
    debug: bool = option(False, "show the traceback of errors")


_GROUPS = {"extractor": ExtractorOptions, "engine": EngineOptions, "running": RunOptions}


def add_groups(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add groups of options: ``extractor``, ``engine``, ``running``."""
    for name in names:
        add_settings(parser.add_argument_group(name), _GROUPS[name])


def add_verbose(parser: argparse._ActionsContainer) -> None:
    """Add ``--verbose`` and ``--debug``."""
    add_settings(parser, RunOptions, "verbose", "debug")


def add_unreadable(parser: argparse._ActionsContainer, default: str = "refuse") -> None:
    """Add ``--unreadable``; :func:`naming_unreadable` and :func:`check_skipped` go with it."""
    text = "stop at a file that cannot be decoded, or skip it, name it and end with exit code 1"
    add_option(parser, "unreadable", str, text, default, choices=("refuse", "skip"))


def add_activation(parser: argparse.ArgumentParser, preset: str, descriptor_views: int = 0) -> None:
    """Add the options of an activation and of the released files.

    Args:
        parser: Parser that gets the options.
        preset: Preset whose values hold where an option is not given.
        descriptor_views: Views of the code where the option is not given.
    """
    group = parser.add_argument_group("activation", "what is not given is the preset's")
    names = "paper, thorough, deep or fast (docs/presets.md)"
    add_option(group, "preset", str, names, preset, choices=tuple(PRESETS), metavar="PRESET")
    usual = PRESETS[preset].settings.replace(descriptor_views=descriptor_views)
    shown = values_from(usual, ActivationSettings)
    add_settings(group, ActivationSettings, defaults=dict.fromkeys(shown), shown=shown)
    group = parser.add_argument_group(
        "released files",
        "bounds are on each image's file as written; an image that JPEG or WebP alone takes beyond "
        "them is only encoded, and named. Without bounds the preset's hold: for PNG on the file, "
        "for JPEG and WebP on what activation adds to the codec's own loss",
    )
    add_settings(group, Budget)
    add_settings(group, ReleaseSettings)
    add_option(group, "format", str, "file format: png, jpeg or webp", "png")
    add_option(group, "quality", int, "1 to 100, of jpeg and webp (default: 90)", metavar="Q")


def chosen_preset(args: argparse.Namespace) -> Preset:
    """Build the preset with the settings that the options ask for.

    Raises:
        InputError: If one of them is out of range, or there is no such optimiser or scheduler.
    """
    import torch

    from activeindex.activation.optimizers import build_optimiser, build_scheduler

    preset = PRESETS[args.preset]
    values = values_from(args, ActivationSettings)
    given = {name: value for name, value in values.items() if value is not None}
    settings = preset.settings.replace(**given)
    # Built now rather than at the first image, which may be hours after a mistyped name.
    optimiser = build_optimiser(settings.optimizer, [torch.zeros(1, requires_grad=True)])
    build_scheduler(settings.scheduler, optimiser)
    form = FileFormat(args.format, args.quality)
    release = preset.released_as(form, settings_from(args, Budget))
    return Preset(settings, replace(release, **values_from(args, ReleaseSettings)))


def chosen_extractor(args: argparse.Namespace, reporter: Reporter) -> "Extractor":
    """Load the extractor that the options ask for, on ``--device``.

    Raises:
        InputError: If there is no such extractor or device.
        MissingExtraError: If it needs a library that is not installed.
    """
    from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR
    from activeindex.extractors.named import load_extractor
    from activeindex.runtime.devices import on_device

    name, path = args.model_name, args.model_path
    if name in _FILES or (name == "pt2" and path):  # Loading says what to do with a .pt2 file.
        if path is None and name == "onnx":
            raise InputError("model_path: expected an ONNX file, found nothing")
        name, path = path or DEFAULT_EXTRACTOR, None
    elif name in CARDS and path is not None:
        raise InputError(
            f"model_name: expected torchscript for a file (leave --model_name out), found {name!r}"
        )
    elif name not in CARDS and not name.startswith(("timm:", "torchvision:")):
        raise InputError(
            f"model_name: expected {', '.join((*_FILES, *CARDS))}, timm:NAME or torchvision:NAME, "
            f"found {name!r}{did_you_mean(name, (*_FILES, *CARDS))}"
        )
    extractor = load_extractor(
        name,
        args.resize_size,
        model_path=path,
        pooling=args.pooling,
        whitening=args.whitening,
        reporter=reporter,
    )
    for line in extractor.notes:
        reporter.line(line)
    # Workers of Ray load it again, where they are.
    on_ray = getattr(args, "engine", None) == "ray"
    return on_device("cpu" if on_ray else args.device, extractor.to)


def chosen_engine(args: argparse.Namespace, reporter: Reporter) -> "LocalEngine | RayWorkers":
    """The engine that the options ask for; nothing is started yet.

    Raises:
        InputError: If an option does not go with the engine.
        MissingExtraError: If Ray is asked for and not installed.
    """
    if args.engine == IN_PROCESS:
        for name in ("address", "ray_workers", "worker_cpus"):
            if getattr(args, name) is not None:
                raise InputError(f"{name}: expected --engine ray with it, found {IN_PROCESS}")
        return local_engine(args)
    from activeindex.runtime.ray_workers import RayWorkers

    return RayWorkers(args.address, args.ray_workers, args.worker_cpus, args.device, reporter)


def local_engine(args: argparse.Namespace) -> "LocalEngine":
    """The engine of this machine: sharded on a CPU, with one thread a process.

    Raises:
        InputError: If there is no such device.
    """
    from activeindex.runtime.devices import on_device
    from activeindex.runtime.pool import LocalEngine

    sharded = on_device(args.device, lambda device: device.type) == "cpu"
    if sharded:
        import torch

        torch.set_num_threads(1)
    return LocalEngine(args.workers, sharded=sharded)


def chosen_reporter(args: argparse.Namespace) -> Reporter:
    """The reporter that ``--verbose`` asks for."""
    return ConsoleReporter() if args.verbose > 0 else Reporter()


def named_runs(given: Iterable[Path]) -> dict[str, Path]:
    """The folders of finished runs by their names, ``FOLDER`` or ``NAME=FOLDER`` each.

    Raises:
        InputError: If a folder is missing, or two runs have the same name.
    """
    runs: dict[str, Path] = {}
    for argument in given:
        name, _, folder = str(argument).partition("=")
        if name and folder and not argument.is_dir():  # No folder has that very name.
            path = Path(folder)
        else:
            name, path = argument.resolve().name, argument
        check_folder(path, "run")
        if name in runs:
            raise InputError(f"run {argument}: another run is called {name!r}; give NAME=FOLDER")
        runs[name] = path
    return runs


@contextmanager
def naming_unreadable() -> Iterator[None]:
    """Name ``--unreadable skip`` in the error where a file cannot be decoded."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; --unreadable skip leaves it out") from error


def check_skipped(skipped: Sequence[str], done: int) -> None:
    """Check that no picture was skipped, at the end of a command.

    Args:
        skipped: The reason of each file that was; pipes and links to themselves are no pictures.
        done: How many files were not.

    Raises:
        SomeFailedError: If some were skipped.
        InputError: If all were.
    """
    from activeindex.images.decoding import NO_PICTURES

    if done:
        skipped = [line for line in skipped if not line.endswith(NO_PICTURES)]
    if skipped:
        many = f"{len(skipped)} of {counted(len(skipped) + done, 'file')} skipped"
        kind = SomeFailedError if done else InputError
        more = " …" if len(skipped) > _NAMED else ""
        raise kind(f"{many}: {'; '.join(skipped[:_NAMED])}{more}")


def report_images(folder: Path, option: str, met: str, reporter: Reporter) -> None:
    """Report the images of a folder and what they meet, and the files that are no images."""
    from activeindex.images.folder import list_images, other_files

    reporter.line(f"{counted(len(list_images(folder, option)), 'image')}, {met}")
    if names := other_files(folder):
        many = counted(len(names), "file")
        reporter.line(f"{many} without the name of an image left out: {listed(names)}")


def check_folders(args: argparse.Namespace, *names: str, images: bool = False) -> None:
    """Check folders before the slow imports, for an immediate answer.

    Args:
        args: Parsed options.
        names: Options of folders; those without a value are fine.
        images: Whether there have to be images in them.

    Raises:
        InputError: If there is no such folder, or nothing in it.
    """
    from activeindex.images.folder import check_images

    for name in names:
        if (folder := getattr(args, name)) is not None:
            (check_images if images else check_folder)(folder, name)


def check_files(args: argparse.Namespace, *names: str) -> None:
    """Check files, as :func:`check_folders` does folders."""
    for name in names:
        value = getattr(args, name)
        for path in value if isinstance(value, list) else [value]:
            check_file(path, name)
