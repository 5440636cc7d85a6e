"""The index of the package: for its extractor, the default, and small."""

import pytest

import activeindex as ai
from activeindex.errors import InputError
from activeindex.indexing.packaged import FOLDER, default_index, packaged_index


def test_it_is_for_the_extractor_of_the_package_and_small() -> None:
    packaged = packaged_index()
    extractor = ai.load_extractor()
    assert packaged.extractor == extractor.identity
    assert packaged.index.d == extractor.dimension
    assert packaged.index.ntotal == 0
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000
    assert ai.TrainedIndex.read(FOLDER).identity == default_index(extractor.identity).identity


def test_another_extractor_needs_an_index_of_its_own() -> None:
    with pytest.raises(InputError) as error:
        default_index(ai.load_extractor(input_size=96).identity)
    assert "train one" in str(error.value)
    assert "activeindex train_index" in str(error.value)
    assert "\n" not in str(error.value)
