"""Where an index wants features."""

import math

import pytest
import torch

from activeindex.activation.objective import IndexObjective
from activeindex.activation.settings import DEEP
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
    faces = quantiser.faces(feature)
    assert faces is not None
    goal = IndexObjective.of(feature, quantiser, DEEP.settings)
    depth = faces.depth(torch.from_numpy(feature)).abs().mean().item()
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
        assert wide.faces is not None
        assert narrow.faces is not None
        depth = face.depth(wide.target).item()
        missing = 4.0 * wide.width.item() - depth
        assert missing > 0
        assert wide.faces.depth(wide.target)[0, -1].item() == pytest.approx(
            depth - missing, abs=1e-5
        )
        assert narrow.faces.offsets[0, -1] == face.offsets[0, 0]


def test_a_code_at_the_centroid_has_no_face() -> None:
    """The way there from the centroid would be the direction of rounding errors."""
    quantiser, settings = Quantiser(trained("IVF16,Flat")), DEEP.settings
    centroid = quantiser.coarse_centroids(features(1, seed=1))
    beside = centroid.copy()
    beside[0, 0] += 1e-4
    for feature in (centroid, beside):
        goal, faces = IndexObjective.of(feature, quantiser, settings), quantiser.faces(feature)
        assert goal.faces is not None
        assert faces is not None
        assert goal.faces.offsets.shape == faces.offsets.shape


@pytest.mark.parametrize("factory", ["LSHr", "PCA16,LSH"])
def test_every_bit_that_is_about_to_flip_counts_however_near_the_others_are(factory: str) -> None:
    goal = IndexObjective.of(features(1, seed=1), Quantiser(trained(factory)), DEEP.settings)
    assert goal.faces is not None
    # A coordinate for each bit, as the normals are orthonormal.
    normals, offsets = goal.faces.normals[0], goal.faces.offsets[0]

    def loss(depth: torch.Tensor) -> float:
        return goal.margin_loss(((depth - offsets) @ normals)[None]).item()

    deep = torch.full_like(offsets, 20.0 * goal.width.item())
    first, second, both = deep.clone(), deep.clone(), deep.clone()
    first[0] = second[1] = both[0] = both[1] = 0.0
    assert loss(deep) == pytest.approx(0.0, abs=1e-6)
    assert loss(first) == pytest.approx(math.log(2) / len(deep), rel=1e-3)
    assert loss(both) == pytest.approx(loss(first) + loss(second), rel=1e-3)
