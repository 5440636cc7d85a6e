"""Calibration of a store, on pictures that are not in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activeindex.decisions.calibrate import (
    EDITS,
    FEWEST,
    Edited,
    calibrate,
    edited_features,
)
from activeindex.decisions.calibration import CALIBRATION_FILE, Calibration, usual_similarity
from activeindex.decisions.decision import MATCH
from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import ExtractionJob
from activeindex.images.folder import list_images
from activeindex.runtime.files import file_hash
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import SILENT, Reporter
from activeindex.stores.store import Store

_TOGETHER = 32
_HASHES = 500
_REFINED = 10


@dataclass(frozen=True)
class Calibrated:
    """Calibrations of a store.

    Attributes:
        calibrations: One for each generation.
        overlapping: Names of the background pictures that were left out, since they, or copies of
            them, are in the store.
    """

    calibrations: Sequence[Calibration]
    overlapping: Sequence[str]


def calibrate_store(
    store: Store,
    background: Path,
    extractor: Extractor,
    *,
    edits: int = EDITS,
    seed: int = 0,
    workers: LocalEngine | None = None,
    reporter: Reporter = SILENT,
) -> Calibrated:
    """Calibrate every generation of a store.

    Pictures that are in the store are left out: the same files, and what a first calibration takes
    for copies.

    Args:
        store: The store; not empty.
        background: Folder of pictures like those that will be searched for, none of them a copy
            of a stored one.
        extractor: The store's extractor.
        edits: Edited copies of each picture.
        seed: Of the edits and the draws.
        workers: Worker pool that decodes and edits; this process by default.
        reporter: Shows the progress.

    Raises:
        InputError: If the store is empty, the extractor another one, or there are too few pictures.
        UnreadableImageError: If a picture cannot be decoded.
        MissingExtraError: If scipy or the edits are not installed.
    """
    if not (stored := store.count()):
        raise InputError("store: expected images, found none; calibrate once there are some")
    store.check_extractor(extractor.identity, extractor.dimension)
    engine = workers or LocalEngine()
    paths = list_images(background, "background")
    hashes = list(engine.map(file_hash, paths))
    there = _stored_hashes(store, hashes)
    overlapping = [path.name for path, sha256 in zip(paths, hashes, strict=True) if sha256 in there]
    paths = [path for path, sha256 in zip(paths, hashes, strict=True) if sha256 not in there]
    if len(paths) < FEWEST:
        raise InputError(
            f"background {background}: expected {FEWEST} pictures or more that are not in the "
            f"store, found {len(paths)}"
        )
    batches = []
    with reporter.stage("background", len(paths)) as progress:
        for batch in ExtractionJob(extractor)(batches_of(paths, _TOGETHER), engine):
            batch.check("refuse")
            batches.append(batch.features)
            progress.advance(len(batch.features))
    features = np.concatenate(batches)
    edited = edited_features(
        extractor, paths, edits=edits, seed=seed, workers=engine, reporter=reporter
    )

    def made(kept: np.ndarray) -> list[Calibration]:
        place = np.cumsum(kept) - 1
        chosen = kept[edited.owners]
        copies = Edited(edited.features[chosen], place[edited.owners[chosen]])
        return [
            calibrate(
                generation.trained,
                extractor.identity,
                features[kept],
                copies,
                stored=stored,
                source=str(background),
                seed=seed,
            )
            for generation in store.generations
        ]

    first = made(np.ones(len(paths), dtype=bool))
    kept = np.ones(len(paths), dtype=bool)
    for generation, calibration in zip(store.generations, first, strict=True):
        near = generation.search(features, 1, generation.lists, refine=_REFINED)
        # A picture would be usual to itself.
        usual = usual_similarity(features, features, calibration.largest_first, own=True)
        scores = calibration.similarity(near.distances[:, 0]) - usual
        expected = calibration.expected_false_matches(scores, stored, refined=True)
        kept &= (near.ids[:, 0] < 0) | (expected > MATCH)
    if not kept.all():
        overlapping += [path.name for path, keep in zip(paths, kept, strict=True) if not keep]
        first = made(kept)
    for generation, calibration in zip(store.generations, first, strict=True):
        calibration.save(generation.folder / CALIBRATION_FILE)
    return Calibrated(first, overlapping)


def _stored_hashes(store: Store, hashes: Sequence[str]) -> set[str]:
    """Those of the hashes that are in the store."""
    found: set[str] = set()
    for part in batches_of(hashes, _HASHES):
        listed = ", ".join(f"'{sha256}'" for sha256 in part)
        records = store.get(store.select(f"sha256 IN ({listed})"))
        found |= {record.sha256 for record in records if record.sha256}
    return found
