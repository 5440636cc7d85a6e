"""The index that both arms search: trained, with the references and the originals in it."""

from dataclasses import dataclass
from typing import Any

import faiss

from activeindex.experiment.settings import IndexSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import FeatureFile, read_copies, read_features
from activeindex.identity import check_extractors
from activeindex.indexing.artefact import index_path, load_or_train
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import filled
from activeindex.indexing.training import MANY, new_index
from activeindex.runtime.reporting import SILENT, Reporter


@dataclass(frozen=True)
class FilledIndex:
    """A trained index filled with references and originals.

    Attributes:
        index: The index; ids 0 … R - 1 are the references, R, R + 1, … the originals of the set.
        quantiser: Its quantiser.
        training_features: Number of features that the index was trained on.
        references: Number of references, R.
        identity: Extractor, quantiser and hashes of the features, for a run's notes.
    """

    index: faiss.Index
    quantiser: Quantiser
    training_features: int
    references: int
    identity: dict[str, Any]


def check_index(settings: IndexSettings, extractor: Extractor) -> None:
    """Check that the index can be trained, before any feature is extracted.

    Raises:
        InputError: If it cannot.
    """
    count = MANY
    if not index_path(settings.idx_dir, settings.idx_factory, settings.quant).exists():
        count = len(_features(settings, "fts_training_path", extractor).values)
    new_index(settings.idx_factory, extractor.dimension, settings.quant, count)


def build_index(
    settings: IndexSettings,
    extractor: Extractor,
    originals: FeatureFile,
    reporter: Reporter = SILENT,
) -> FilledIndex:
    """Train the index or take it from the cache, and fill it.

    Args:
        settings: The index, and the features that it is trained on and holds.
        extractor: The extractor of the originals; the other features must come from the same.
        originals: Features of the set, in the order of their ids.
        reporter: Gets the progress.

    Raises:
        InputError: If a feature file or the cached index does not fit the extractor.
        NoTargetError: If the index has no reconstructions.
    """
    training = _features(settings, "fts_training_path", extractor)
    references = _features(settings, "fts_reference_path", extractor)
    edited = read_copies(settings.fts_edited_path, training)
    for each in edited:
        _check_origin(settings, "fts_edited_path", each, extractor)
    path = index_path(settings.idx_dir, settings.idx_factory, settings.quant)
    trained = load_or_train(
        path,
        training,
        settings.idx_factory,
        settings.quant,
        edited,
        any_origin=settings.force,
        polysemous=settings.polysemous,
        reporter=reporter,
    )
    if not settings.force:
        # Features without a note do not name their extractor; the index's manifest may.
        trained.check_extractor(extractor.identity)
    with reporter.stage("index", 1) as progress:
        parts = (references.values, originals.values)
        index = filled(trained.index, parts, settings.nprobe, settings.search_params)
        progress.advance()
    identity = {
        "extractor": extractor.identity.as_json(),
        "quantiser": trained.identity.as_json(),
        "training_sha256": training.hash(),
        "references_sha256": references.hash(),
        "originals_sha256": originals.hash(),
    }
    return FilledIndex(
        index, trained.quantiser, len(training.values), len(references.values), identity
    )


def _features(settings: IndexSettings, option: str, extractor: Extractor) -> FeatureFile:
    features = read_features(getattr(settings, option), option, extractor.dimension)
    _check_origin(settings, option, features, extractor)
    return features


def _check_origin(
    settings: IndexSettings, option: str, features: FeatureFile, extractor: Extractor
) -> None:
    if not settings.force:
        check_extractors(f"{option} {features.path}", extractor.identity, features.extractor)
