"""A store of the package's index decides from the first search on."""

from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.decisions.calibration import CALIBRATION_FILE, Calibration
from activeindex.extractors.coerce import extract
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import load_or_train
from activeindex.indexing.packaged import FOLDER, packaged_index
from activeindex.stores.ingest import NewImages
from activeindex.stores.register import register
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.photographs import OTHERS, PROTECTED, find_photograph


def rows(extractor: ExtractorIdentity | None) -> ImageFeatures:
    """Features to train an index on."""
    return ImageFeatures(features(50, 256), extractor=extractor)


def test_a_copy_is_a_match_and_another_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in PROTECTED[:6]:
        with Image.open(find_photograph(name)) as image:
            image.convert("RGB").save(tmp_path / "pictures" / f"{Path(name).stem}.png")
    register(tmp_path / "pictures", tmp_path / "store", untouched=True)
    with Store(tmp_path / "store") as store:
        with Image.open(tmp_path / "pictures" / "coffee.png") as image:
            copy = image.resize((image.width * 2 // 3, image.height * 2 // 3))
        with Image.open(find_photograph(OTHERS[0])) as image:
            other = image.convert("RGB")
        found, foreign = store.search([copy, other], k=1)
        assert (found.decision, found.matches[0].record.name) == ("match", "coffee.png")
        assert foreign.decision in ("none", "review")
        # A copy in a generation without a calibration is not called "none".
        store.renew(load_or_train(tmp_path / "own", rows(packaged_index().extractor), "Flat", "L2"))
        store.add(
            NewImages(["other.png"], extract([other], None).values, {}),
        )
        (unknown,) = store.search([other], k=1)
        assert (unknown.decision, unknown.matches[0].record.name) == (None, "other.png")
        assert store.search([copy], k=1)[0].decision == "match"
        # One of the store's own takes its place.
        own = Calibration.read(FOLDER / CALIBRATION_FILE)
        strict = Calibration(
            *(own.extractor, own.quantiser, own.largest_first, own.normalising[:3]),
            *(own.of_codes, own.of_features, own.background._replace(source="mine", stored=6)),
        )
        strict.save(store.generations[0].folder / CALIBRATION_FILE)
        (used,) = store.calibrations().values()
        assert used.background.source == "mine"
        assert np.array_equal(used.normalising, own.normalising[:3])


def test_it_is_of_the_package_s_extractor_and_index_and_names_its_background() -> None:
    made = Calibration.read(FOLDER / CALIBRATION_FILE)
    index = packaged_index()
    made.check(FOLDER, index.extractor, index.identity)
    assert "ImageNet" in made.background.source
    assert made.fits(1)
    assert made.fits(10**9)
