"""Both arms on real photographs, from the library."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from activeindex.activation.settings import ActivationSettings, Budget, ReleaseSettings
from activeindex.datasets.disc import prepare_disc
from activeindex.errors import InputError, NoTargetError
from activeindex.experiment.folder import RunSummary
from activeindex.experiment.run import run_experiment
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import extract_folder
from activeindex.extractors.named import load_extractor
from activeindex.images.encoding import decode, encode
from activeindex.images.formats import FileFormat
from activeindex.images.picture import Picture, read_picture
from activeindex.images.quality import psnr
from activeindex.runtime.pool import LocalEngine

IMAGES, NON_MATCHING, REFERENCES, TRAINING = 16, 20, 400, 600


@dataclass(frozen=True)
class Collection:
    """A part of a DISC21-like folder, its features extracted at 128 pixels."""

    root: Path
    extractor: Extractor
    workers: LocalEngine

    def settings(self, output: Path, factory: str = "IVF16,PQ8x8np") -> ExperimentSettings:
        return ExperimentSettings(
            data_dir=self.root / "images",
            output_dir=output,
            index=IndexSettings(
                fts_training_path=self.root / "training_fts" / "fts.pt",
                fts_reference_path=self.root / "references_fts" / "fts.pt",
                idx_factory=factory,
                idx_dir=output.parent / "indexes",
            ),
            evaluation=EvaluationSettings(query_nonmatch_dir=self.root / "others"),
        )

    def run(self, settings: ExperimentSettings) -> RunSummary:
        return run_experiment(settings, self.extractor, workers=self.workers)


def link(folder: Path, paths: list[Path]) -> None:
    folder.mkdir()
    for path in paths:
        (folder / path.name).symlink_to(path.resolve())


@pytest.fixture(scope="module")
def collection(disc: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    root = tmp_path_factory.mktemp("collection")
    parts = prepare_disc(disc, root, queries=NON_MATCHING)
    matched, other, unmatched = (sorted(part.path.iterdir()) for part in parts)
    link(root / "images", matched[:IMAGES])
    link(root / "others", unmatched)
    link(root / "references", other[:REFERENCES])
    link(root / "training", sorted((disc / "train").rglob("*.jpg"))[:TRAINING])
    extractor, workers = load_extractor("lite0_copy", 128), LocalEngine(2)
    for name in ("references", "training"):
        extract_folder(extractor, root / name, root / f"{name}_fts", workers=workers)
    return Collection(root, extractor, workers)


@pytest.fixture(scope="module")
def arms(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunSummary, RunSummary]:
    root = tmp_path_factory.mktemp("arms")
    passive = replace(collection.settings(root / "passive"), active=False)
    return collection.run(passive), collection.run(collection.settings(root / "active"))


def mean_recall(run: RunSummary) -> float:
    assert run.recall is not None
    return float(np.mean([row.r_at_1 for row in run.recall.rows]))


def test_activated_photographs_are_found_more_often(arms: tuple[RunSummary, RunSummary]) -> None:
    passive, active = arms
    assert mean_recall(active) > mean_recall(passive) + 0.05  # 0.079 at this size.


def test_copies_are_told_better_from_other_queries(arms: tuple[RunSummary, RunSummary]) -> None:
    passive, active = arms
    assert passive.detection is not None
    assert active.detection is not None
    assert active.detection.micro_ap > passive.detection.micro_ap


def test_the_distortion_is_hard_to_see(arms: tuple[RunSummary, RunSummary]) -> None:
    passive, active = arms
    assert passive.distortion is None
    assert active.distortion is not None
    assert active.distortion.psnr[0] > 37
    assert active.distortion.ssim[0] > 0.94
    assert active.distortion.distance_after < active.distortion.distance_before


@pytest.mark.parametrize("active", [True, False])
def test_both_arms_search_with_files_of_the_format_asked_for(
    collection: Collection, tmp_path: Path, active: bool
) -> None:
    settings = replace(
        collection.settings(tmp_path / "out"),
        active=active,
        activation=ActivationSettings(iterations=1),
        release=ReleaseSettings(FileFormat("jpeg", 97), Budget(psnr=38.0)),
        evaluation=EvaluationSettings(eval_retrieval=False),
    )
    run = collection.run(settings)
    assert run.detection is not None
    released = sorted((tmp_path / "out" / "imgs").iterdir())
    assert [path.suffix for path in released] == [".jpg"] * IMAGES
    originals = sorted((collection.root / "images").iterdir())
    for before, after in zip(originals, released, strict=True):
        original, seen = (read_picture(path).pixels for path in (before, after))
        assert 38.0 <= psnr(original, seen) < 60.0
        plain = decode(encode(Picture(original), original, FileFormat("jpeg", 97)))
        assert np.array_equal(seen, plain) != active


@pytest.mark.parametrize("factory", ["IDMap,PQ8x8np", "PCA32,IDMap,Flat"])
def test_an_index_with_an_id_map_is_filled_and_searched(
    collection: Collection, tmp_path: Path, factory: str
) -> None:
    settings = collection.settings(tmp_path / "out", factory)
    few = replace(settings, active=False, evaluation=EvaluationSettings(eval_icd=False))
    recall = collection.run(few).recall
    assert recall is not None
    assert recall.rows[0].attack == "none"
    assert recall.rows[0].r_at_1 > 0.9


def test_a_target_that_the_index_lacks_is_refused_before_anything_is_written(
    collection: Collection, tmp_path: Path
) -> None:
    settings = collection.settings(tmp_path / "out", "PQ8x8np")
    activation = ActivationSettings(target="ivf_cluster")
    with pytest.raises(NoTargetError, match="no inverted lists"):
        collection.run(replace(settings, activation=activation))
    assert not list((tmp_path / "out").glob("*.csv"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvaluationSettings(kneighbors=0), r"^kneighbors: expected 1 or more, found 0$"),
        (
            lambda: IndexSettings(Path("a"), Path("b"), nprobe=0),
            r"^nprobe: expected 1 or more, found 0$",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
