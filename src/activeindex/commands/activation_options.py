"""The options that make up the settings of an activation."""

import argparse
from typing import TYPE_CHECKING

from activeindex.commands.options import add_boolean, optional

if TYPE_CHECKING:
    from activeindex.activation import ActivationSettings, ReleaseSettings


def add_activation_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make up an :class:`ActivationSettings`."""
    group = parser.add_argument_group("activation")
    group.add_argument("--iterations", type=int, default=10, help="gradient steps per image")
    group.add_argument("--optimizer", default="Adam,lr=1e-0", help="a torch or timm optimiser")
    group.add_argument("--scheduler", type=optional, help="a torch or timm scheduler, or None")
    group.add_argument(
        "--target",
        default="pq_recons",
        help="where features are pushed: pq_recons, ori_ft, ivf_cluster or ivf_cluster_half",
    )
    group.add_argument("--loss_f", default="cossim", help="feature loss: cossim or mse")
    group.add_argument("--lambda_f", type=float, default=1.0, help="weight of the feature loss")
    group.add_argument("--lambda_i", type=float, default=1e-2, help="weight of the image loss")
    add_boolean(group, "--use_tanh", True, "squash the distortion")
    add_boolean(group, "--scale_channels", True, "weight the channels by what the eye sees")
    add_boolean(group, "--use_attenuation", True, "mask the distortion by the JND map")
    group.add_argument("--scaling", type=float, default=3.0, help="strength, in JND units")


def chosen_activation(options: argparse.Namespace) -> "ActivationSettings":
    """The activation that the options ask for.

    Raises:
        InputError: If one of them is out of range, or there is no such optimiser or scheduler.
    """
    from dataclasses import fields

    import torch

    from activeindex.activation import ActivationSettings
    from activeindex.activation.optimisers import build_optimiser, build_scheduler

    settings = ActivationSettings(
        **{field.name: getattr(options, field.name) for field in fields(ActivationSettings)}
    )
    # Asked for now rather than at the first image, hours after a mistyped name.
    optimiser = build_optimiser(settings.optimizer, [torch.zeros(1, requires_grad=True)])
    build_scheduler(settings.scheduler, optimiser)
    return settings


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make up a :class:`ReleaseSettings`."""
    group = parser.add_argument_group(
        "released files", "bounds hold for every image, measured on its file as written"
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
    from activeindex.activation import Budget, ReleaseSettings
    from activeindex.images import FileFormat

    return ReleaseSettings(
        FileFormat(options.format, options.quality),
        Budget(options.psnr, options.ssim, options.linf),
    )
