"""Where features are pushed, on real indexes."""

import numpy as np
import numpy.typing as npt
import pytest

from activeindex.activation.objective import choose_targets
from activeindex.activation.settings import Target
from activeindex.errors import NoTargetError
from activeindex.indexing.quantiser import Quantiser
from tests.indexing.trained import features, trained

FEATURES = features(20, seed=1)


def test_each_target_is_what_its_name_says() -> None:
    quantiser = Quantiser(trained("IVF16,PQ8x8np"))
    centroids = quantiser.coarse_centroids(FEATURES)
    expected: dict[Target, npt.NDArray[np.floating]] = {
        "pq_recons": quantiser.reconstruct(FEATURES),
        "ori_ft": FEATURES,
        "ivf_cluster": centroids,
        "ivf_cluster_half": (centroids + FEATURES) / 2,
    }
    for target, values in expected.items():
        assert np.array_equal(choose_targets(target, FEATURES, quantiser), values)


@pytest.mark.parametrize("factory", ["LSH", "PCA32,LSH", "ITQ32,LSH"])
def test_binary_codes_give_directions_at_the_features_length(factory: str) -> None:
    quantiser, long = Quantiser(trained(factory)), 3 * FEATURES
    targets = choose_targets("pq_recons", long, quantiser)
    directions = quantiser.reconstruct(long)
    cosines = (targets * directions).sum(axis=1) / np.linalg.norm(directions, axis=1)
    assert np.allclose(np.linalg.norm(targets, axis=1), 3, atol=1e-5)
    assert np.allclose(cosines, 3, atol=1e-5)


@pytest.mark.parametrize("target", ["ivf_cluster", "ivf_cluster_half"])
def test_centroids_need_inverted_lists(target: Target) -> None:
    with pytest.raises(NoTargetError, match="no inverted lists"):
        choose_targets(target, FEATURES, Quantiser(trained("PQ8x8np")))
