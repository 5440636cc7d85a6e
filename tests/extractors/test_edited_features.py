"""``extract_folder(edit_seed=…)``: features of copies after one edit at random each."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.images.levels import Pixels
from tests.extractors.linear import LinearExtractor


@pytest.fixture(scope="module")
def folder(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for name, pixels in photographs.items():
        Image.fromarray(pixels).resize((96, 96)).save(root / f"{name}.png")
    return root


def rows(
    extractor: Extractor, folder: Path, out: Path, seed: int | None, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """Features by name."""
    made = extract_folder(extractor, folder, out, edit_seed=seed, batch_size=batch_size)
    values = read_features(made.features, "features", edited=seed is not None).values
    return dict(zip(made.filenames.read_text().split(), values, strict=True))


def test_an_edit_depends_on_the_seed_and_the_name_alone(folder: Path, tmp_path: Path) -> None:
    extractor = LinearExtractor()
    whole = rows(extractor, folder, tmp_path / "whole", 3)
    small = rows(extractor, folder, tmp_path / "small", 3, batch_size=2)
    (tmp_path / "one").mkdir()
    shutil.copy(folder / "rocket.png", tmp_path / "one")
    alone = rows(extractor, tmp_path / "one", tmp_path / "alone", 3)
    assert all(np.allclose(small[name], values, atol=1e-5) for name, values in whole.items())
    assert np.allclose(alone["rocket.png"], whole["rocket.png"], atol=1e-5)
    other = rows(extractor, folder, tmp_path / "other", 4)
    assert not any(np.allclose(other[name], values, atol=1e-5) for name, values in whole.items())


def test_pictures_of_the_same_name_in_several_folders_get_edits_of_their_own(
    folder: Path, tmp_path: Path
) -> None:
    for place in range(6):
        (tmp_path / "in" / str(place)).mkdir(parents=True)
        shutil.copy(folder / "rocket.png", tmp_path / "in" / str(place) / "image.png")
    found = rows(LinearExtractor(), tmp_path / "in", tmp_path / "out", 0)
    assert len({values.tobytes() for values in found.values()}) > 3  # Two kinds have one version.


@pytest.mark.parametrize("seeds", [(0, None), (None, 0), (0, 1)])
def test_a_finished_folder_is_not_taken_for_one_with_other_edits(
    folder: Path, tmp_path: Path, seeds: tuple[int | None, int | None]
) -> None:
    first, second = seeds
    rows(LinearExtractor(), folder, tmp_path, first)
    message = f"holds results with edit_seed={first}, this command has edit_seed={second}"
    with pytest.raises(InputError, match=message):
        rows(LinearExtractor(), folder, tmp_path, second)


def test_they_are_of_copies_of_the_same_pictures(
    sscd: Extractor, folder: Path, tmp_path: Path
) -> None:
    own, edited = (rows(sscd, folder, tmp_path / str(seed), seed) for seed in (None, 0))
    names = list(own)
    cosines = np.stack(list(own.values())) @ np.stack([edited[name] for name in names]).T
    assert (cosines.argmax(axis=0) == np.arange(len(names))).all()
    assert np.median(np.diagonal(cosines)) < 0.99


def test_they_are_not_taken_for_features_of_pictures_nor_these_for_them(
    folder: Path, tmp_path: Path
) -> None:
    extractor = LinearExtractor()
    for seed in (None, 0):
        rows(extractor, folder, tmp_path / str(seed), seed)
    with pytest.raises(InputError, match=r"expected features of images as they are, found those"):
        read_features(tmp_path / "0" / "fts.pt", "fts_training_path")
    with pytest.raises(InputError, match=r"expected features of edited copies \(extract_fts --ed"):
        read_features(tmp_path / "None" / "fts.pt", "fts_edited_path", edited=True)


def test_a_negative_seed_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="edit_seed: expected 0 or more, found -1"):
        extract_folder(LinearExtractor(), folder, tmp_path, edit_seed=-1)


def test_they_are_not_mean_features_as_well(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="edit_seed: expected none with descriptor_views, found both"
    ):
        extract_folder(LinearExtractor(), folder, tmp_path, edit_seed=0, descriptor_views=3)
