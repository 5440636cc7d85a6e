"""The options that make up the settings of an activation."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from activeindex.cli.options import add_boolean, boolean, number, one_of, optional, whole

if TYPE_CHECKING:
    from activeindex.activation.settings import ActivationSettings, Preset, ReleaseSettings


_OPTIONS: tuple[tuple[str, Callable[[str], object], object, str], ...] = (
    ("iterations", whole(0), 10, "gradient steps per image"),
    ("optimizer", str, "Adam,lr=1e-0", "a torch or timm optimiser, or NormedMomentum"),
    ("scheduler", optional, None, "a torch or timm scheduler, or None"),
    (
        "target",
        one_of("pq_recons", "ori_ft", "ivf_cluster", "ivf_cluster_half"),
        "pq_recons",
        "pq_recons, ori_ft, ivf_cluster or ivf_cluster_half",
    ),
    ("loss_f", one_of("cossim", "mse"), "cossim", "feature loss: cossim or mse"),
    ("lambda_f", number(0), 1.0, "weight of the feature loss"),
    ("lambda_i", number(0), 1e-2, "weight of the image loss"),
    ("use_tanh", boolean, True, "squash the distortion"),
    ("scale_channels", boolean, True, "weight the channels by what the eye sees"),
    ("use_attenuation", boolean, True, "mask the distortion by the JND map"),
    ("scaling", number(0), 3.0, "strength, in JND units"),
    ("margin_weight", number(0), 0.0, "weight of the margin to the faces of the cell"),
    ("margin_width", float, 0.1, "how deep is deep enough, as a share of the mean depth"),
    ("edited_views", whole(0), 0, "views after a random edit that each step looks at besides"),
    (
        "descriptor_views",
        whole(0),
        0,
        "views of the original, 16 at most, whose mean feature the code is taken of; the index "
        "must store that code (docs/presets.md)",
    ),
    (
        "precision",
        one_of("float32", "bfloat16"),
        "float32",
        "of the passes through the extractor: float32 or bfloat16",
    ),
)
"""Name, type, the paper's value (importing it would cost a second of PyTorch), help."""


def add_activation_options(parser: argparse.ArgumentParser, preset: str) -> None:
    """Adds the options that make up an :class:`ActivationSettings`.

    Args:
        parser: Gets the options.
        preset: The preset whose values hold where an option is not given.
    """
    group = parser.add_argument_group("activation", "what is not given is the preset's")
    group.add_argument(
        "--preset",
        type=one_of("paper", "thorough", "deep", "fast"),
        default=preset,
        help="paper, thorough, deep or fast (docs/presets.md)",
    )
    for name, kind, paper, text in _OPTIONS:
        shown = f"{text} (default: {paper})" if preset == "paper" and paper is not None else text
        if kind is boolean:
            add_boolean(group, f"--{name}", None, shown)
        else:
            aliases = ["--code_views"] if name == "descriptor_views" else []
            group.add_argument(f"--{name}", *aliases, type=kind, help=shown)


def chosen_activation(options: argparse.Namespace) -> "ActivationSettings":
    """The activation that the options ask for.

    Raises:
        InputError: If one of them is out of range, or there is no such optimiser or scheduler.
    """
    from dataclasses import fields

    import torch

    from activeindex.activation.optimizers import build_optimiser, build_scheduler
    from activeindex.activation.settings import ActivationSettings

    given = {field.name: getattr(options, field.name) for field in fields(ActivationSettings)}
    settings = _preset(options).settings.replace(
        **{name: value for name, value in given.items() if value is not None}
    )
    # Asked for now rather than at the first image, hours after a mistyped name.
    optimiser = build_optimiser(settings.optimizer, [torch.zeros(1, requires_grad=True)])
    build_scheduler(settings.scheduler, optimiser)
    return settings


def _preset(options: argparse.Namespace) -> "Preset":
    from activeindex.activation.settings import PRESETS

    return PRESETS[options.preset]


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make up a :class:`ReleaseSettings`."""
    group = parser.add_argument_group(
        "released files",
        "bounds hold for every image, measured on its file as written; the preset's unless given",
    )
    group.add_argument("--psnr", type=float, metavar="DB", help="smallest PSNR in dB")
    group.add_argument("--ssim", type=float, metavar="VALUE", help="smallest SSIM, below 1")
    group.add_argument(
        "--linf", type=int, metavar="LEVELS", help="largest change of a pixel value, of 255"
    )
    group.add_argument("--format", default="png", help="file format: png, jpeg or webp")
    group.add_argument(
        "--quality", type=int, metavar="Q", help="1 to 100, of jpeg and webp (default: 90)"
    )


def chosen_release(options: argparse.Namespace) -> "ReleaseSettings":
    """The files that the options ask for.

    Raises:
        InputError: If one of them is out of range.
    """
    from dataclasses import replace

    from activeindex.activation.settings import Budget, ReleaseSettings
    from activeindex.images.formats import FileFormat

    form = FileFormat(options.format, options.quality)
    budget = Budget(options.psnr, options.ssim, options.linf)
    if not budget:
        # A preset's bounds are for its distortion: a codec may lose more than they allow.
        preset = _preset(options).release.budget
        budget = replace(preset, beyond_codec=bool(preset) and not form.lossless)
    return ReleaseSettings(form, budget)
