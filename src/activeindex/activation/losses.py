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
