"""Extractors: differentiable maps from images to features.

The second room on the path of an image. An :class:`Extractor` declares its dimension and input
size, takes images in [0, 1] and normalises them itself. :func:`load_extractor` finds one by name
or file; :func:`extract_folder` streams the features of a folder to disk.
"""

from activeindex.extractors.base import Extractor, ExtractorIdentity
from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR, DEFAULT_INPUT_SIZE
from activeindex.extractors.extraction import (
    Decode,
    Extraction,
    OnUnreadable,
    code_features,
    extract_folder,
    features_of,
    features_of_files,
)
from activeindex.extractors.feature_files import FeatureFile, read_features
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.whitening import Whitening

__all__ = [
    "CARDS",
    "DEFAULT_EXTRACTOR",
    "DEFAULT_INPUT_SIZE",
    "Decode",
    "Extraction",
    "Extractor",
    "ExtractorIdentity",
    "FeatureFile",
    "OnUnreadable",
    "Pooling",
    "Whitening",
    "code_features",
    "extract_folder",
    "features_of",
    "features_of_files",
    "load_extractor",
    "read_features",
]
