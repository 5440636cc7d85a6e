"""Options of the settings of an activation and of released files."""

import argparse

from activeindex.activation.settings import PRESETS, ActivationSettings, Budget, ReleaseSettings
from activeindex.cli.from_settings import add_option, add_settings, settings_from, values_from
from activeindex.images.formats import FileFormat


def add(parser: argparse.ArgumentParser, preset: str) -> None:
    """Add the options of an activation and of the released files.

    Args:
        parser: Parser that gets the args.
        preset: Preset whose values hold where an option is not given.
    """
    group = parser.add_argument_group("activation", "what is not given is the preset's")
    names = "paper, thorough, deep or fast (docs/presets.md)"
    add_option(group, "preset", str, names, preset, choices=tuple(PRESETS), metavar="PRESET")
    shown = values_from(PRESETS[preset].settings, ActivationSettings)
    add_settings(group, ActivationSettings, defaults=dict.fromkeys(shown), shown=shown)
    group = parser.add_argument_group(
        "released files",
        "bounds hold for every image, measured on its file as written; the preset's unless given",
    )
    add_settings(group, Budget)
    add_option(group, "format", str, "file format: png, jpeg or webp", "png")
    add_option(group, "quality", int, "1 to 100, of jpeg and webp (default: 90)", metavar="Q")


def chosen(args: argparse.Namespace) -> ActivationSettings:
    """Build the settings of the activation that the options ask for.

    Raises:
        InputError: If one of them is out of range, or there is no such optimiser or scheduler.
    """
    import torch

    from activeindex.activation.optimizers import build_optimiser, build_scheduler

    values = values_from(args, ActivationSettings)
    given = {name: value for name, value in values.items() if value is not None}
    settings = PRESETS[args.preset].settings.replace(**given)
    # Built now rather than at the first image, which may be hours after a mistyped name.
    optimiser = build_optimiser(settings.optimizer, [torch.zeros(1, requires_grad=True)])
    build_scheduler(settings.scheduler, optimiser)
    return settings


def chosen_release(args: argparse.Namespace) -> ReleaseSettings:
    """Build the settings of the released files that the options ask for.

    Raises:
        InputError: If one of them is out of range.
    """
    form = FileFormat(args.format, args.quality)
    return PRESETS[args.preset].released_as(form, settings_from(args, Budget))
