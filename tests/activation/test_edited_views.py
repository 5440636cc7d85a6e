"""Steps that look at edited views besides the image."""

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.activation.activate import activate_pictures
from activeindex.activation.results import ActivationResult
from activeindex.activation.settings import DEEP, Budget, ReleaseSettings
from activeindex.edits.geometric import center_crop
from activeindex.edits.warps import rotate
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.levels import resize_square, to_square
from activeindex.indexing.quantiser import Quantiser

AT_42_DB = ReleaseSettings(budget=Budget(psnr=42.5))


def test_rotated_and_cropped_copies_are_nearer_to_the_target_than_without_views(
    images: list[torch.Tensor], small_sscd: Extractor, quantiser: Quantiser
) -> None:
    def distances(views: int) -> np.ndarray:
        settings = DEEP.settings.replace(edited_views=views, mask="jnd", fine_blue=False)
        result = activate_pictures(images, small_sscd, quantiser, settings, release=AT_42_DB)
        assert [image.passes for image in result.images] == [5 * (1 + views)] * 3
        assert all(42.5 <= image.quality.psnr < 42.8 for image in result.images)
        return np.concatenate([distances_of_copies(result, number) for number in range(3)])

    def distances_of_copies(result: ActivationResult, number: int) -> np.ndarray:
        original = resize_square(images[number], small_sscd.input_size).unsqueeze(0)
        target = quantiser.reconstruct(features_of(small_sscd, original))
        picture = Image.fromarray(result.images[number].pixels)
        copies = [rotate(picture, 25), rotate(picture, 90), center_crop(picture, 0.5)]
        squares = torch.stack([to_square(copy, small_sscd.input_size) for copy in copies])
        found: np.ndarray = np.linalg.norm(features_of(small_sscd, squares) - target, axis=1)
        return found

    assert distances(2).mean() < distances(0).mean()


def test_a_negative_number_of_views_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^edited_views: expected 0 or more, found -1$"):
        DEEP.settings.replace(edited_views=-1)
