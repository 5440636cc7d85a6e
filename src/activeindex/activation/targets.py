"""Where features are pushed."""

import numpy as np
import numpy.typing as npt

from activeindex.activation.settings import Target
from activeindex.extractors.features import match_norms
from activeindex.indexing.quantiser import Quantiser


def choose_targets(
    target: Target, features: npt.NDArray[np.float32], quantiser: Quantiser
) -> npt.NDArray[np.float32]:
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
