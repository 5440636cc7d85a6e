"""Predicted and observed false matches, and what calibrated decisions find.

Of the references that the ground truth does not name, 2,000 are stored beside the photographs that
it names, 1,000 calibrate, and 1,000 check, each under ten random compositions of edits. Features
are kept in WORK, so that a second run only computes the tables.

    python benchmarks/decisions.py --data_dir DISC --fts_training_path fts/train --work WORK \
        [--released FOLDER]
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import activeindex as ai
from activeindex.decisions.calibrate import Edited, calibrate, edited_features
from activeindex.decisions.calibration import (
    CALIBRATION_FILE,
    Calibration,
    distances_between,
    similarity,
    usual_similarity,
)
from activeindex.evaluation.isc import Prediction, evaluate_predictions
from activeindex.evaluation.statistics import Values, bootstrap_interval
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import ExtractionJob
from activeindex.extractors.named import load_extractor
from activeindex.images.folder import list_images
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.packaged import FOLDER, packaged_index
from activeindex.indexing.quantiser import Features
from activeindex.indexing.search import Neighbours, add, copied, search, set_nprobe
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import ConsoleReporter

EDITS = 10
EXPECTED = (1e-3, 2e-3, 5e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
DEPTH = 50
"""Nearest stored images of a query among which false matches are counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="laid out like DISC21")
    parser.add_argument("--fts_training_path", type=Path, help="not needed with --packaged")
    parser.add_argument(
        "--packaged", action="store_true", help="the index of the package, and its calibration"
    )
    parser.add_argument("--work", type=Path, required=True, help="keeps the features")
    parser.add_argument("--released", type=Path, help="the photographs, activated for the index")
    parser.add_argument("--model_name", default="lite0_copy")
    parser.add_argument("--factory", default="IVF64,PQ8x8")
    parser.add_argument("--stored", type=int, nargs="*", default=[1000, 2200])
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    extractor = load_extractor(options.model_name, None)
    with (options.data_dir / "dev_queries_groundtruth.csv").open() as file:
        named = {row[1].strip() for row in csv.reader(file) if len(row) > 1} - {""}
    paths = list_images(options.data_dir / "references")
    photographs = [path for path in paths if path.stem in named]
    others = [path for path in paths if path.stem not in named]
    order = np.random.default_rng(0).permutation(len(others))
    others = [others[place] for place in order]
    stored, background, checked = others[:2000], others[2000:3000], others[3000:4000]

    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    with LocalEngine(options.workers) as workers:

        def edited(name: str, chosen: list[Path]) -> Edited:
            found = kept(
                work / f"{name}_edited.npy",
                lambda: (
                    edited_features(
                        extractor, chosen, edits=EDITS, workers=workers, reporter=ConsoleReporter()
                    ).features
                ),
            )
            return Edited(found, np.repeat(np.arange(len(chosen)), EDITS))

        def plain(name: str, chosen: list[Path]) -> Features:
            return kept(work / f"{name}.npy", lambda: extracted(extractor, chosen, workers))

        features = np.concatenate([plain("photographs", photographs), plain("stored", stored)])
        if options.packaged:
            trained = packaged_index()
            made = Calibration.read(FOLDER / CALIBRATION_FILE)
        else:
            trained = ai.train_index(options.fts_training_path, options.factory)
            made = calibrate(
                trained,
                extractor.identity,
                plain("background", background),
                edited("background", background),
                stored=len(features),
            )
        foreign, passive = edited("checked", checked), edited("photographs", photographs)
        arms = {"passive": passive.features}
        if options.released is not None:
            arms["activated"] = edited("released", list_images(options.released)).features
    false_matches(made, trained, features, foreign, options.stored)
    recall(made, trained, features, arms, foreign.features)


def kept(path: Path, compute: Callable[[], Features]) -> Features:
    """Features from a file, which is made where there is none."""
    if not path.exists():
        np.save(path, compute())
    found: Features = np.load(path)
    return found


def extracted(extractor: Extractor, paths: list[Path], workers: LocalEngine) -> Features:
    batches = batches_of(paths, 32)
    return np.concatenate([b.features for b in ExtractionJob(extractor)(batches, workers)])


def searched(
    trained: TrainedIndex, stored: Features, queries: Features, refined: bool
) -> Neighbours:
    """The nearest stored images by all their codes, or by their features."""
    if refined:
        distances = distances_between(queries, stored, False)
        ids = np.argsort(distances, axis=1, kind="stable")[:, :DEPTH]
        return Neighbours(np.take_along_axis(distances, ids, axis=1).astype(np.float32), ids)
    index = copied(trained.index)
    add(index, stored)
    set_nprobe(index, len(stored))
    return search(index, queries, DEPTH)


def false_matches(
    made: Calibration, trained: TrainedIndex, features: Features, foreign: Edited, sizes: list[int]
) -> None:
    """Print how many stored images the queries matched, for how many that were predicted."""
    print("| images | distance | expected per query | observed / expected (95 %) |")
    print("|---|---|---|---|")
    pictures = int(foreign.owners.max()) + 1
    for size in sizes:
        for refined in (False, True):
            found = searched(trained, features[:size], foreign.features, refined)
            scores = made.scores(foreign.features, found.distances)
            expected = made.expected_false_matches(scores, size, refined=refined)
            for level in EXPECTED:
                counts = (expected <= level).sum(axis=1).reshape(pictures, -1).mean(axis=1)
                low, high = mean_interval(counts)
                kind = "feature" if refined else "code"
                share = counts.mean() / level
                print(
                    f"| {size:,} | {kind} | {level:g} | "
                    f"{share:.2f} ({low / level:.2f} to {high / level:.2f}) |"
                )
    print()


def recall(
    made: Calibration,
    trained: TrainedIndex,
    features: Features,
    arms: dict[str, Features],
    foreign: Features,
) -> None:
    """Print what is found at one false match in 1,000 queries, and the challenge's metrics."""
    print("| arm | distance | score | R@1 | recall at 1 in 1,000 (95 %) | µAP | R@P90 |")
    print("|---|---|---|---|---|---|---|")
    for arm, copies in arms.items():
        owners = np.repeat(np.arange(len(copies) // EDITS), EDITS)
        for refined in (False, True):
            for normalised in (False, True):
                scores, right, predictions = [], [], []
                for queries, own in ((copies, owners), (foreign, np.full(len(foreign), -1))):
                    found = searched(trained, features, queries, refined)
                    score = similarity(found.distances, False)
                    if normalised:
                        score -= usual_similarity(queries, made.normalising, False)[:, None]
                    scores.append(score[:, 0])
                    right.append(found.ids[:, 0] == own)
                    kind = "Q" if own[0] >= 0 else "N"
                    predictions += [
                        Prediction(f"{kind}{query}", str(identifier), float(value))
                        for query in range(len(queries))
                        for identifier, value in zip(
                            found.ids[query, :10], score[query, :10], strict=True
                        )
                    ]
                # The threshold that one of 1,000 foreign queries passes.
                threshold = np.quantile(scores[1], 0.999)
                hits = (right[0] & (scores[0] > threshold)).reshape(-1, EDITS).mean(axis=1)
                low, high = mean_interval(hits)
                truth = {f"Q{query}": {str(owner)} for query, owner in enumerate(owners)}
                metrics = evaluate_predictions(predictions, truth)
                print(
                    f"| {arm} | {'feature' if refined else 'code'} | "
                    f"{'normalised' if normalised else 'raw'} | {right[0].mean():.3f} | "
                    f"{hits.mean():.3f} ({low:.3f} to {high:.3f}) | {metrics.micro_ap:.3f} | "
                    f"{metrics.recall_at_p90:.3f} |",
                    flush=True,
                )


def mean_interval(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Bootstrap interval of a mean over pictures."""

    def means(weights: Values) -> Values:
        return np.asarray(weights @ values / weights.sum(axis=1))

    return bootstrap_interval(means, len(values))


if __name__ == "__main__":
    main()
