"""``extract_folder(decode="scaled")``: nearly the same features of large JPEGs, sooner."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import Decode, extract_folder
from activeindex.images.levels import Pixels


@pytest.fixture(scope="module")
def folder(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs on 2.9 and 5.3 megapixels, upright and lying, and a small one."""
    root = tmp_path_factory.mktemp("large")
    sizes: tuple[tuple[str, tuple[int, int], dict[str, Any]], ...] = (
        ("astronaut", (2304, 2304), {"quality": 92}),
        ("coffee", (2000, 1440), {"quality": 85, "progressive": True}),
        ("chelsea", (1500, 1980), {"quality": 95, "subsampling": 0}),
        ("china", (640, 427), {"quality": 90}),
    )
    for name, size, options in sizes:
        enlarged = Image.fromarray(photographs[name]).resize(size, Image.Resampling.BICUBIC)
        enlarged.save(root / f"{name}.jpg", **options)
    return root


def features(extractor: Extractor, folder: Path, out: Path, decode: Decode) -> np.ndarray:
    made = extract_folder(extractor, folder, out, decode=decode)
    values = read_features(made.features, "features").values
    unit: np.ndarray = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def test_features_are_nearly_those_of_the_whole_photographs(
    sscd: Extractor, folder: Path, tmp_path: Path
) -> None:
    exact = features(sscd, folder, tmp_path / "exact", "exact")
    scaled = features(sscd, folder, tmp_path / "scaled", "scaled")
    cosines = (exact * scaled).sum(axis=1)
    assert cosines.min() >= 0.999
    names = (tmp_path / "scaled" / "filenames.txt").read_text().split()
    changed = {name for name, a, b in zip(names, exact, scaled, strict=True) if (a != b).any()}
    # The small one has nothing to spare, and is decoded in full.
    assert changed == {"astronaut.jpg", "coffee.jpg", "chelsea.jpg"}


def test_the_note_says_how_images_were_decoded_and_other_features_are_not_taken_for_it(
    small_sscd: Extractor, photographs: dict[str, Pixels], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(photographs["rocket"]).save(tmp_path / "in" / "rocket.jpg")
    out = tmp_path / "out"
    extract_folder(small_sscd, tmp_path / "in", out, decode="scaled")
    assert json.loads((out / "fts.json").read_text())["decode"] == "scaled"
    with pytest.raises(InputError, match=r"holds results with decode='scaled', this command has"):
        extract_folder(small_sscd, tmp_path / "in", out)


def test_another_way_of_decoding_is_refused(small_sscd: Extractor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^decode: expected one of exact, scaled, found 'fast'$"):
        extract_folder(small_sscd, tmp_path, tmp_path / "out", decode="fast")  # type: ignore[arg-type]
