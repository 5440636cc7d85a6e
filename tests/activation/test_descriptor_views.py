"""Images whose code is that of the mean feature over edits of the original."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.activation.activate import activate_pictures
from activeindex.activation.settings import DEEP, Budget, ReleaseSettings
from activeindex.edits.differentiable import fixed_views
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import code_features, extract_folder, features_of
from activeindex.images.levels import Pixels, from_levels, resize_square, to_pixels, to_square
from activeindex.indexing.quantiser import Features, Quantiser

VIEWS = 8

AT_42_DB = ReleaseSettings(budget=Budget(psnr=42.5))


@pytest.fixture(scope="module")
def squares(images: list[torch.Tensor], small_sscd: Extractor) -> torch.Tensor:
    return torch.stack([resize_square(image, small_sscd.input_size) for image in images])


def distances(features: Features, targets: Features) -> np.ndarray:
    found: np.ndarray = np.linalg.norm(features - targets, axis=1)
    return found


def test_a_code_feature_is_nearer_to_those_of_edited_copies_than_the_originals_own(
    images: list[torch.Tensor], squares: torch.Tensor, small_sscd: Extractor
) -> None:
    own, coded = features_of(small_sscd, squares), code_features(small_sscd, squares, VIEWS)
    for number, image in enumerate(images):
        picture = Image.fromarray(to_pixels(image))
        copies = [picture.rotate(90), picture.rotate(180), picture.rotate(25, expand=True)]
        seen = torch.stack([to_square(copy, small_sscd.input_size) for copy in copies])
        found = features_of(small_sscd, seen)
        assert distances(found, coded[number]).mean() < distances(found, own[number]).mean()


def test_it_is_as_long_as_the_originals_own_and_does_not_depend_on_the_images_beside_it(
    squares: torch.Tensor, small_sscd: Extractor
) -> None:
    coded = code_features(small_sscd, squares, VIEWS)
    own = features_of(small_sscd, squares)
    np.testing.assert_allclose(
        np.linalg.norm(coded, axis=1), np.linalg.norm(own, axis=1), rtol=1e-5
    )
    alone = [code_features(small_sscd, square.unsqueeze(0), VIEWS) for square in squares]
    assert np.array_equal(coded, np.concatenate(alone))
    assert np.array_equal(code_features(small_sscd, squares, 0), own)


def test_the_code_of_an_activated_image_is_that_of_the_features_that_are_extracted_for_the_index(
    photographs: dict[str, Pixels], small_sscd: Extractor, quantiser: Quantiser, tmp_path: Path
) -> None:
    chosen = [photographs["chelsea"][::2, ::2], photographs["astronaut"][40:200, 140:300]]
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(chosen):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    extract_folder(small_sscd, tmp_path / "in", tmp_path / "fts", descriptor_views=VIEWS)
    stored = read_features(tmp_path / "fts" / "fts.pt", "fts").values
    settings = DEEP.settings.replace(descriptor_views=VIEWS, iterations=1)
    images = [from_levels(torch.from_numpy(pixels.transpose(2, 0, 1).copy())) for pixels in chosen]
    result = activate_pictures(images, small_sscd, quantiser, settings)
    assert [image.code for image in result.images] == [
        quantiser.encode(feature).tobytes() for feature in np.split(stored, len(stored))
    ]


def test_activated_images_come_nearer_to_the_reconstruction_of_that_code(
    images: list[torch.Tensor],
    squares: torch.Tensor,
    small_sscd: Extractor,
    quantiser: Quantiser,
) -> None:
    settings = DEEP.settings.replace(descriptor_views=VIEWS, mask="jnd", fine_blue=False)
    result = activate_pictures(images, small_sscd, quantiser, settings, release=AT_42_DB)
    targets = quantiser.reconstruct(code_features(small_sscd, squares, VIEWS))
    before = distances(features_of(small_sscd, squares), targets)
    for image, far in zip(result.images, before, strict=True):
        assert image.distance_before == pytest.approx(far, rel=1e-4)
        assert image.distance_after < image.distance_before
        assert 42.5 <= image.quality.psnr < 42.8


@pytest.mark.parametrize("views", [-1, 17])
def test_more_views_than_there_are_edits_and_fewer_than_none_are_refused(
    small_sscd: Extractor, tmp_path: Path, views: int
) -> None:
    message = rf"^descriptor_views: expected 0 to 16, found {views}$"
    with pytest.raises(InputError, match=message):
        DEEP.settings.replace(descriptor_views=views)
    with pytest.raises(InputError, match=message):
        extract_folder(small_sscd, tmp_path, tmp_path / "out", descriptor_views=views)


def test_fewer_views_are_the_first_of_more(squares: torch.Tensor) -> None:
    few, many = fixed_views(squares, 4), fixed_views(squares, 16)
    assert len(many) == 16
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=False))
    assert len({view.numpy().tobytes() for view in many}) == 16
    for view in many:
        assert view.shape == squares.shape
        assert view.min() >= -1e-5
        assert view.max() <= 1 + 1e-5
