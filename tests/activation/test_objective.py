"""Losses and targets, and where an index wants features."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from activeindex.activation import objective
from activeindex.activation.objective import (
    IndexObjective,
    choose_targets,
    feature_loss,
    total_loss,
)
from activeindex.activation.settings import DEEP, FEATURE_LOSSES, ActivationSettings
from activeindex.activation.settings import TARGETS as TARGET_NAMES
from activeindex.errors import InputError, NoTargetError
from activeindex.indexing.quantiser import Quantiser
from tests.indexing.trained import features, trained


@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "OPQ8_32,IVF16,PQ8x8np", "IVF16,SQ8"])
def test_the_middle_of_its_list_is_not_deep_for_an_image(factory: str) -> None:
    quantiser = Quantiser(trained(factory))
    for row in features(5, seed=1):
        goal = IndexObjective.of(row[None], quantiser, DEEP.settings)
        centroid = torch.from_numpy(quantiser.coarse_centroids(row[None]))
        at_centroid, at_target = (goal.margin_loss(x).item() for x in (centroid, goal.target))
        # Behind every face of the list, but nearer to a neighbour there than to its own code.
        assert at_centroid > math.log(2)
        assert at_target < at_centroid


def test_how_deep_is_enough_is_told_by_the_faces_of_the_list_alone() -> None:
    quantiser, feature = Quantiser(trained("IVF16,PQ8x8np")), features(1, seed=1)
    faces = quantiser.half_spaces(feature)
    assert faces is not None
    goal = IndexObjective.of(feature, quantiser, DEEP.settings)
    depth = faces.margin(torch.from_numpy(feature)).abs().mean().item()
    assert goal.width.item() == pytest.approx(DEEP.settings.margin_width * depth)


@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "OPQ8_32,IVF16,PQ8x8np", "IVF16,Flat"])
def test_the_face_of_a_code_near_the_centroid_is_further_inwards(factory: str) -> None:
    """Near means within four widths of the margin: the same codes are far for a narrow one."""
    quantiser = Quantiser(trained(factory))
    for row in features(5, seed=1):
        face = quantiser.centroid_half_space(row[None])
        assert face is not None
        wide, narrow = (
            IndexObjective.of(row[None], quantiser, DEEP.settings.replace(margin_width=width))
            for width in (0.5, 0.02)
        )
        assert wide.half_spaces is not None
        assert narrow.half_spaces is not None
        depth = face.margin(wide.target).item()
        missing = 4.0 * wide.width.item() - depth
        assert missing > 0
        assert wide.half_spaces.margin(wide.target)[0, -1].item() == pytest.approx(
            depth - missing, abs=1e-5
        )
        assert narrow.half_spaces.offsets[0, -1] == face.offsets[0, 0]


def test_a_code_at_the_centroid_has_no_face() -> None:
    """The way there from the centroid would be the direction of rounding errors."""
    quantiser, settings = Quantiser(trained("IVF16,Flat")), DEEP.settings
    centroid = quantiser.coarse_centroids(features(1, seed=1))
    beside = centroid.copy()
    beside[0, 0] += 1e-4
    for feature in (centroid, beside):
        goal, faces = (
            IndexObjective.of(feature, quantiser, settings),
            quantiser.half_spaces(feature),
        )
        assert goal.half_spaces is not None
        assert faces is not None
        assert goal.half_spaces.offsets.shape == faces.offsets.shape


@pytest.mark.parametrize("factory", ["LSHr", "PCA16,LSH"])
def test_every_bit_that_is_about_to_flip_counts_however_near_the_others_are(factory: str) -> None:
    goal = IndexObjective.of(features(1, seed=1), Quantiser(trained(factory)), DEEP.settings)
    assert goal.half_spaces is not None
    # A coordinate for each bit, as the normals are orthonormal.
    normals, offsets = goal.half_spaces.normals[0], goal.half_spaces.offsets[0]

    def loss(depth: torch.Tensor) -> float:
        return goal.margin_loss(((depth - offsets) @ normals)[None]).item()

    deep = torch.full_like(offsets, 20.0 * goal.width.item())
    first, second, both = deep.clone(), deep.clone(), deep.clone()
    first[0] = second[1] = both[0] = both[1] = 0.0
    assert loss(deep) == pytest.approx(0.0, abs=1e-6)
    assert loss(first) == pytest.approx(math.log(2) / len(deep), rel=1e-3)
    assert loss(both) == pytest.approx(loss(first) + loss(second), rel=1e-3)


FEATURES = torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 2.0]])
TARGETS = torch.tensor([[4.0, 3.0], [-1.0, 0.0], [5.0, 5.0]])


def test_cossim_is_minus_the_cosine_of_each_image() -> None:
    # (12 + 12) / (5 * 5), opposite, parallel
    losses = feature_loss("cossim", FEATURES, TARGETS)
    assert losses.tolist() == pytest.approx([-0.96, 1.0, -1.0])


def test_mse_is_the_squared_distance_of_each_image() -> None:
    assert feature_loss("mse", FEATURES, TARGETS).tolist() == pytest.approx([2.0, 4.0, 18.0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ActivationSettings(), [2.01, -1.0]),
        (ActivationSettings(lambda_f=0.5, lambda_i=3.0), [4.0, -0.5]),
        (ActivationSettings(lambda_f=0.0, lambda_i=1.0), [1.0, 0.0]),
        (ActivationSettings(lambda_i=0.0), [2.0, -1.0]),
    ],
)
def test_the_weights_add_up_the_two_losses(
    settings: ActivationSettings, expected: list[float]
) -> None:
    feature_losses, image_losses = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    assert total_loss(feature_losses, image_losses, settings).tolist() == pytest.approx(expected)


ORIGINALS = features(20, seed=1)


def test_each_target_is_what_its_name_says() -> None:
    quantiser = Quantiser(trained("IVF16,PQ8x8np"))
    centroids = quantiser.coarse_centroids(ORIGINALS)
    expected: dict[str, npt.NDArray[np.floating]] = {
        "pq_recons": quantiser.reconstruct(ORIGINALS),
        "ori_ft": ORIGINALS,
        "ivf_cluster": centroids,
        "ivf_cluster_half": (centroids + ORIGINALS) / 2,
    }
    for target, values in expected.items():
        assert np.array_equal(choose_targets(target, ORIGINALS, quantiser), values)


@pytest.mark.parametrize("factory", ["LSH", "PCA32,LSH", "ITQ32,LSH"])
def test_binary_codes_give_directions_at_the_features_length(factory: str) -> None:
    quantiser, long = Quantiser(trained(factory)), 3 * ORIGINALS
    targets = choose_targets("pq_recons", long, quantiser)
    directions = quantiser.reconstruct(long)
    cosines = (targets * directions).sum(axis=1) / np.linalg.norm(directions, axis=1)
    assert np.allclose(np.linalg.norm(targets, axis=1), 3, atol=1e-5)
    assert np.allclose(cosines, 3, atol=1e-5)


@pytest.mark.parametrize("target", ["ivf_cluster", "ivf_cluster_half"])
def test_centroids_need_inverted_lists(target: str) -> None:
    with pytest.raises(NoTargetError, match="no inverted lists"):
        choose_targets(target, ORIGINALS, Quantiser(trained("PQ8x8np")))


def test_settings_know_the_losses_and_targets_by_their_names() -> None:
    assert tuple(objective._FEATURE_LOSSES) == FEATURE_LOSSES
    assert tuple(objective._TARGETS) == TARGET_NAMES


def test_a_loss_without_a_gradient_is_refused_by_name() -> None:
    def detached(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (features - targets).detach().square().sum(dim=1)

    features = torch.rand(2, 4, requires_grad=True)
    with pytest.raises(InputError, match=r"^loss_f .*detached: expected a loss with a gradient"):
        feature_loss(detached, features, torch.rand(2, 4))
