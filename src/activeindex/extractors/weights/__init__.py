"""Weights of the named models: the user's cache, downloads into it, and the record of hashes."""

from activeindex.extractors.weights.cache import (
    cached_path,
    checked_hash,
    find_weights,
    model_cache,
    packaged_path,
)
from activeindex.extractors.weights.downloading import StartBar, download, no_bar

__all__ = [
    "StartBar",
    "cached_path",
    "checked_hash",
    "download",
    "find_weights",
    "model_cache",
    "no_bar",
    "packaged_path",
]
