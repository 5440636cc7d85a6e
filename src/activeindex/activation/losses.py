"""What the optimisation makes small, image by image (Fernandez et al., ICLR 2023)."""

import torch
import torch.nn.functional as F

from activeindex.activation.settings import ActivationSettings, FeatureLoss


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
