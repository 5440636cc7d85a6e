"""The objective: targets of features, and the losses that lead there.

The target of a feature is a point of the index, its reconstruction by default. The
loss of an image is the feature loss to that point, the image loss (how large the distortion is),
and the margin loss: how near its feature is to the sides of its cell.

A loss or a target of your own is a callable, given in place of a name::

    def l1(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (features - targets).abs().sum(dim=1)      # (B, d), (B, d) -> (B,)

    def mean_feature(features, quantiser):                # (n, d) float32 array -> (n, d)
        return np.repeat(features.mean(axis=0, keepdims=True), len(features), axis=0)

    ActivationSettings(loss_f=l1, target=mean_feature)

Records and journals know it as ``module:qualname``. For workers in other processes it has to be a
function of a module that they can import; any other callable works in this process.

``lambda_f`` weighs the loss against the image loss and the margin loss. The presets leave it at 1,
for losses about as large as a cosine. A mean over the values of a feature is far smaller: with
that weight the margin loss outweighs it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F

from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.features import match_norms
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.voronoi import HalfSpaces
from activeindex.runtime.fields import name_of

FeatureLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A differentiable loss ``(B,)`` of features ``(B, d)`` against targets ``(B, d)``."""

Target = Callable[[Features, Quantiser], Features]
"""The targets ``(n, d)`` of original features ``(n, d)`` in the index of a quantiser."""

_FAR = 4.0
"""Widths at which a reconstruction lies far enough from the half-space of its centroid."""

_AT_CENTROID = 0.05
"""Widths below which the way from the centroid to a reconstruction is no direction."""


def cosine_loss(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Minus the cosine between features and targets ``(B, d)``, ``(B,)`` in [-1, 1]."""
    return -F.cosine_similarity(features, targets, dim=1)


def squared_distance(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distance between features and targets ``(B, d)``, ``(B,)``."""
    return (features - targets).square().sum(dim=1)


def reconstruction(features: Features, quantiser: Quantiser) -> Features:
    """Reconstructions ``(n, d)`` that the index makes of features ``(n, d)``."""
    targets = quantiser.reconstruct(features)
    return match_norms(features, targets) if quantiser.direction_only else targets


def half_way_to_centroid(features: Features, quantiser: Quantiser) -> Features:
    """Midpoints ``(n, d)`` of features and the centroids of their inverted lists."""
    midpoints: Features = (quantiser.coarse_centroids(features) + features) / 2.0
    return midpoints


# Names are in activation/settings.py, too, which the command line reads without PyTorch.
_FEATURE_LOSSES: dict[str, FeatureLoss] = {"cossim": cosine_loss, "mse": squared_distance}
_TARGETS: dict[str, Target] = {
    "pq_recons": reconstruction,
    "ori_ft": lambda features, quantiser: features,
    "ivf_cluster": lambda features, quantiser: quantiser.coarse_centroids(features),
    "ivf_cluster_half": half_way_to_centroid,
}


def feature_loss(
    kind: str | FeatureLoss, features: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Feature loss ``(B,)`` of features ``(B, d)`` against targets ``(B, d)``.

    Args:
        kind: ``cossim``, minus the cosine; ``mse``, the squared Euclidean distance; or a callable.
        features: Features of the images as they are now.
        targets: Where they should be.

    Raises:
        InputError: If a callable does not return a tensor ``(B,)`` with a gradient.
    """
    if isinstance(kind, str):
        return _FEATURE_LOSSES[kind](features, targets)
    loss: Any = kind(features, targets)
    if not isinstance(loss, torch.Tensor) or loss.shape != features.shape[:1]:
        found = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise InputError(
            f"loss_f {name_of(kind)}: expected a tensor of shape ({len(features)},), one loss for "
            f"each image, found {found}"
        )
    if features.requires_grad and not loss.requires_grad:
        raise InputError(
            f"loss_f {name_of(kind)}: expected a loss with a gradient to the features, found none"
        )
    return loss


def choose_targets(target: str | Target, features: Features, quantiser: Quantiser) -> Features:
    """Targets ``(n, d)`` of original features ``(n, d)``.

    See ``ActivationSettings.target``.

    Raises:
        NoTargetError: If the index has no such target.
        InputError: If a callable does not return finite targets of that shape.
    """
    if isinstance(target, str):
        return _TARGETS[target](features, quantiser)
    found = np.asarray(target(features, quantiser), np.float32)
    if found.shape != features.shape:
        raise ShapeError(f"target {name_of(target)}", features.shape, found.shape)
    if not np.isfinite(found).all():
        raise InputError(f"target {name_of(target)}: expected finite values, found NaN or infinity")
    return found


def margin_loss(margin: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Margin loss ``(B,)`` of features in Voronoi cells: 0 with a large margin.

    log(1 + sum exp(-margin / width)): the cross-entropy of the own cell against those beyond each
    side. Only sides that are about as near as the nearest count, and none that is many widths away,
    so that a feature is not pulled to the centre of its cell and from its reconstruction.

    Args:
        margin: ``(B, m)``; see :class:`~activeindex.indexing.voronoi.HalfSpaces`.
        width: ``(B, 1)``, in the same unit.
    """
    return F.softplus(torch.logsumexp(-margin / width, dim=1))


def bits_loss(margin: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Margin loss ``(B,)`` of features with binary codes: 0 with a large margin.

    The mean over the bits of log(1 + exp(-margin / width)). The distance of a copy is the number of
    bits that it has lost, so each bit counts, where :func:`margin_loss` looks at the nearest.

    Args:
        margin: ``(B, bits)``; see :class:`~activeindex.indexing.voronoi.HalfSpaces`.
        width: ``(B, 1)``, in the same unit.
    """
    return F.softplus(-margin / width).mean(dim=1)


def total_loss(
    feature_losses: torch.Tensor, image_losses: torch.Tensor, settings: ActivationSettings
) -> torch.Tensor:
    """``lambda_f`` times feature loss plus ``lambda_i`` times image loss, ``(B,)``.

    Args:
        feature_losses: ``(B,)``; see :func:`feature_loss`.
        image_losses: ``(B,)``, the mean squared distortion of each image in normalised space.
        settings: Gives the weights.
    """
    return settings.lambda_f * feature_losses + settings.lambda_i * image_losses


@dataclass(frozen=True)
class Losses:
    """The losses ``(B,)`` of one step.

    Attributes:
        total: The sum that is made small.
        feature: The feature loss in it, without its weight.
        image: The image loss in it, without its weight.
        margin: The margin loss in it, without its weight; 0 where there is none.
    """

    total: torch.Tensor
    feature: torch.Tensor
    image: torch.Tensor
    margin: torch.Tensor

    @classmethod
    def mean(cls, losses: Sequence[Self]) -> Self:
        """The means over several."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.stack([getattr(x, n) for x in losses]).mean(dim=0) for n in names))


@dataclass(frozen=True)
class IndexObjective:
    """The objective of features in one index.

    Attributes:
        target: Where each feature is pushed, ``(B, d)``.
        half_spaces: Whose intersections are their cells, and the one of each own code in its cell;
            None without a margin.
        width: The margin that is enough, ``(B, 1)``.
    """

    target: torch.Tensor
    half_spaces: HalfSpaces | None
    width: torch.Tensor

    @classmethod
    def of(cls, features: Features, quantiser: Quantiser, settings: ActivationSettings) -> Self:
        """The objective for originals' features ``(B, d)``; see :meth:`Objective.of`."""
        target = torch.from_numpy(choose_targets(settings.target, features, quantiser))
        cells = []
        if settings.margin_weight:
            rows = (features[row : row + 1] for row in range(len(features)))
            cells = [_cell(row, quantiser, settings.margin_width) for row in rows]
        found = [cell for cell in cells if cell is not None]
        if not found:
            return cls(target, None, torch.ones(len(features), 1))
        half_spaces, widths = zip(*found, strict=True)
        return cls(target, HalfSpaces.of_several(half_spaces), torch.cat(widths))

    def rows(self, rows: Sequence[int], device: torch.device) -> "IndexObjective":
        """The objective of some of the features, on a device."""
        picked, sides = list(rows), self.half_spaces
        if sides is not None:
            sides = replace(sides, normals=sides.normals[picked], offsets=sides.offsets[picked])
            sides = sides.to(device)
        return IndexObjective(self.target[picked].to(device), sides, self.width[picked].to(device))

    def margin_loss(self, features: torch.Tensor) -> torch.Tensor:
        """The margin loss ``(B,)`` of features ``(B, d)``; 0 without half-spaces."""
        if self.half_spaces is None:
            return torch.zeros_like(features[:, 0])
        loss = bits_loss if self.half_spaces.bits else margin_loss
        return loss(self.half_spaces.margin(features), self.width)


def _cell(
    feature: Features, quantiser: Quantiser, margin_width: float
) -> tuple[HalfSpaces, torch.Tensor] | None:
    """Half-spaces of a feature ``(1, d)``, and the margin that is enough."""
    cell = quantiser.half_spaces(feature)
    if cell is None:
        return None
    mean = cell.margin(torch.from_numpy(feature)).abs().mean()
    width = (margin_width * mean).clamp(min=1e-6).view(1, 1)
    own = quantiser.centroid_half_space(feature)
    if own is None:
        return cell, width
    margin = own.margin(torch.from_numpy(quantiser.reconstruct(feature)))
    if margin <= _AT_CENTROID * width:
        return cell, width
    # Where codes crowd around the centroid, every width that is missing counts; with less than two,
    # the reconstruction itself is not deep, and pulls on.
    missing = (_FAR * width - margin).clamp(min=0.0)
    return cell.with_those_of(own.advanced(missing)), width


@dataclass(frozen=True)
class Objective:
    """The loss of each image: the mean over the indexes it is activated for.

    Attributes:
        indexes: The objective in each index.
        settings: Which losses, with which weights.
    """

    indexes: tuple[IndexObjective, ...]
    settings: ActivationSettings

    @classmethod
    def of(
        cls, features: Features, quantisers: Sequence[Quantiser], settings: ActivationSettings
    ) -> Self:
        """The objective for originals' features ``(B, d)``.

        Raises:
            NoTargetError: If an index has no target of the kind asked for.
            ShapeError: If the features have another dimension than an index.
        """
        return cls(tuple(IndexObjective.of(features, q, settings) for q in quantisers), settings)

    def rows(self, rows: Sequence[int], device: torch.device) -> "Objective":
        """The objective of some of the images, on a device."""
        return Objective(tuple(each.rows(rows, device) for each in self.indexes), self.settings)

    def __call__(self, features: torch.Tensor, image_loss: torch.Tensor) -> Losses:
        """The losses of features ``(B, d)`` under distortions with image losses ``(B,)``."""
        settings = self.settings
        pulls = [feature_loss(settings.loss_f, features, each.target) for each in self.indexes]
        feature = torch.stack(pulls).mean(dim=0)
        margin = torch.stack([each.margin_loss(features) for each in self.indexes]).mean(dim=0)
        total = total_loss(feature, image_loss, settings) + settings.margin_weight * margin
        return Losses(total, feature, image_loss, margin)
