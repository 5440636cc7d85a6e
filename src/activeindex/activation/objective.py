"""Where the features of images should go, as losses."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
import torch.nn.functional as F

from activeindex.activation.settings import ActivationSettings, FeatureLoss, Target
from activeindex.extractors.features import match_norms
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.voronoi import HalfSpaces

_CLEAR = 4.0
"""Widths at which a reconstruction lies far enough behind the face of its code."""

_AT_CENTROID = 0.05
"""Widths below which the way from the centroid to a reconstruction is no direction."""


def choose_targets(target: Target, features: Features, quantiser: Quantiser) -> Features:
    """The targets ``(n, d)`` of original features ``(n, d)``; see ``ActivationSettings.target``.

    Raises:
        NoTargetError: If the index has no such target.
    """
    match target:
        case "pq_recons":
            targets = quantiser.reconstruct(features)
            return match_norms(features, targets) if quantiser.direction_only else targets
        case "ori_ft":
            return features
        case "ivf_cluster":
            return quantiser.coarse_centroids(features)
        case "ivf_cluster_half":
            return (quantiser.coarse_centroids(features) + features) / 2.0


def feature_loss(kind: FeatureLoss, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss ``(B,)`` of features ``(B, d)`` against targets ``(B, d)``.

    Args:
        kind: ``cossim``: minus the cosine, in [-1, 1]; ``mse``: squared Euclidean distance.
        features: Features of the images as they are now.
        targets: Where they should be.
    """
    match kind:
        case "cossim":
            return -F.cosine_similarity(features, targets, dim=1)
        case "mse":
            return (features - targets).square().sum(dim=1)


def margin_loss(depth: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """How near features are to leaving their cells, ``(B,)``: 0 deep inside.

    log(1 + sum exp(-depth / width)): the cross-entropy of the own cell against those behind each
    face. Only faces that are about as near as the nearest count, and none that is many widths away,
    so that a feature is not pulled to the centre of its cell and from its reconstruction.

    Args:
        depth: ``(B, m)``; see :class:`~activeindex.indexing.HalfSpaces`.
        width: ``(B, 1)``, in the same unit.
    """
    return F.softplus(torch.logsumexp(-depth / width, dim=1))


def bits_loss(depth: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """How near features are to losing bits of their codes, ``(B,)``: 0 deep inside.

    The mean over the bits of log(1 + exp(-depth / width)). A copy is as far as it has lost bits, so
    each counts by itself, where :func:`margin_loss` would leave the others to the nearest.

    Args:
        depth: ``(B, bits)``; see :class:`~activeindex.indexing.HalfSpaces`.
        width: ``(B, 1)``, in the same unit.
    """
    return F.softplus(-depth / width).mean(dim=1)


def total_loss(
    feature_losses: torch.Tensor, image_losses: torch.Tensor, settings: ActivationSettings
) -> torch.Tensor:
    """``lambda_f`` times the feature loss plus ``lambda_i`` times the image loss, ``(B,)``.

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
        total: What is made small.
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
    """Where one index wants features.

    Attributes:
        target: Where each feature is pushed, ``(B, d)``.
        faces: The faces of their cells, and of their codes in these; None without a margin.
        width: The depth behind them that is enough, ``(B, 1)``.
    """

    target: torch.Tensor
    faces: HalfSpaces | None
    width: torch.Tensor

    @classmethod
    def of(cls, feature: Features, quantiser: Quantiser, settings: ActivationSettings) -> Self:
        """The goal for an original's feature ``(1, d)``; raises as :meth:`Objective.of` does."""
        target = torch.from_numpy(choose_targets(settings.target, feature, quantiser))
        faces = quantiser.faces(feature) if settings.margin_weight else None
        width = torch.ones(1, 1)
        if faces is not None:
            depth = faces.depth(torch.from_numpy(feature)).abs().mean()
            width = (settings.margin_width * depth).clamp(min=1e-6).view(1, 1)
            faces = _with_code_face(faces, feature, quantiser, width)
        return cls(target, faces, width)

    @classmethod
    def of_several(cls, goals: Sequence[Self]) -> Self:
        """The goals of several images, in one."""
        faces = [goal.faces for goal in goals if goal.faces is not None]
        return cls(
            torch.cat([goal.target for goal in goals]),
            HalfSpaces.of_several(faces) if faces else None,
            torch.cat([goal.width for goal in goals]),
        )

    def to(self, device: torch.device) -> "IndexObjective":
        """The same with its tensors on a device."""
        faces = self.faces and self.faces.to(device)
        return IndexObjective(self.target.to(device), faces, self.width.to(device))

    def margin_loss(self, features: torch.Tensor) -> torch.Tensor:
        """The margin loss ``(B,)`` of features ``(B, d)``; 0 without faces."""
        if self.faces is None:
            return torch.zeros_like(features[:, 0])
        loss = bits_loss if self.faces.bits else margin_loss
        return loss(self.faces.depth(features), self.width)


def _with_code_face(
    faces: HalfSpaces, feature: Features, quantiser: Quantiser, width: torch.Tensor
) -> HalfSpaces:
    """The faces of a feature's list, and that of its own code in it where there is one."""
    face = quantiser.centroid_half_space(feature)
    if face is None:
        return faces
    depth = face.depth(torch.from_numpy(quantiser.reconstruct(feature)))
    if depth <= _AT_CENTROID * width:
        return faces
    # Where codes crowd around the centroid, every width that is missing counts; with less than two,
    # the reconstruction itself is not deep, and pulls on.
    missing = (_CLEAR * width - depth).clamp(min=0.0)
    return faces.with_those_of(face.advanced(missing))


@dataclass(frozen=True)
class Objective:
    """What the optimisation of images makes small: for each, the mean over the indexes it is for.

    Attributes:
        goals: One for each index.
        settings: Which losses, with which weights.
    """

    goals: tuple[IndexObjective, ...]
    settings: ActivationSettings

    @classmethod
    def of(
        cls, feature: Features, quantisers: Sequence[Quantiser], settings: ActivationSettings
    ) -> Self:
        """The objective for an original's feature ``(1, d)``.

        Raises:
            NoTargetError: If an index has no target of the kind asked for.
            ShapeError: If the feature has another dimension than an index.
        """
        return cls(
            tuple(IndexObjective.of(feature, each, settings) for each in quantisers), settings
        )

    @classmethod
    def of_several(cls, objectives: Sequence[Self]) -> Self:
        """The objectives of several images with the same indexes and settings, in one."""
        goals = zip(*(each.goals for each in objectives), strict=True)
        return cls(tuple(map(IndexObjective.of_several, goals)), objectives[0].settings)

    def to(self, device: torch.device) -> "Objective":
        """The same with its tensors on a device."""
        return Objective(tuple(goal.to(device) for goal in self.goals), self.settings)

    @property
    def targets(self) -> Features:
        """The targets of one image in all indexes, ``(n, d)``."""
        targets: Features = torch.cat([goal.target for goal in self.goals]).cpu().numpy()
        return targets

    def __call__(self, features: torch.Tensor, distortion: torch.Tensor) -> Losses:
        """The losses of features ``(B, d)`` under distortions ``(B, 3, H, W)``."""
        settings = self.settings
        pulls = [feature_loss(settings.loss_f, features, goal.target) for goal in self.goals]
        feature = torch.stack(pulls).mean(dim=0)
        margin = torch.stack([goal.margin_loss(features) for goal in self.goals]).mean(dim=0)
        image = distortion.square().mean(dim=(1, 2, 3))
        total = total_loss(feature, image, settings) + settings.margin_weight * margin
        return Losses(total, feature, image, margin)
