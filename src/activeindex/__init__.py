"""Active image indexing: pictures that an approximate index finds again, edited copies too.

Example:
    >>> import activeindex as ai
    >>> ai.register("PICTURES", "STORE", "RELEASED")  # doctest: +SKIP
    >>> print(ai.Store("STORE").search("SUSPECTS", k=1))  # doctest: +SKIP

The names below are all of the public API. Each comes from the module that defines it, which is
imported when the name is first used: ``import activeindex`` loads neither PyTorch nor FAISS.

The path of an image through the package: :mod:`~activeindex.images` reads it,
:mod:`~activeindex.extractors` give its feature, :mod:`~activeindex.indexing` its code and
reconstruction, :mod:`~activeindex.activation` changes it before release,
:mod:`~activeindex.stores` keep what was released, :mod:`~activeindex.edits` are what copiers do to
it, :mod:`~activeindex.evaluation` measures how often it is found; :mod:`~activeindex.experiment`
runs all of it.
"""

from importlib import import_module

# As typing.TYPE_CHECKING: python -m would import a typing.py of the current folder here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from activeindex.activation.activate import activate
    from activeindex.activation.folder import activate_folder
    from activeindex.activation.results import ActivatedImage, ActivationResult
    from activeindex.activation.settings import (
        PRESETS,
        ActivationSettings,
        Budget,
        ReleaseSettings,
    )
    from activeindex.edits.named import Edit
    from activeindex.errors import ActiveIndexError, InputError
    from activeindex.experiment.evaluate import evaluate
    from activeindex.extractors.adapt import as_extractor
    from activeindex.extractors.base import Extractor
    from activeindex.extractors.cards import CARDS as EXTRACTORS
    from activeindex.extractors.coerce import extract
    from activeindex.extractors.feature_files import read_features
    from activeindex.extractors.named import load_extractor
    from activeindex.images.formats import FileFormat
    from activeindex.images.limits import set_max_pixels
    from activeindex.indexing.artefact import TrainedIndex, train_index
    from activeindex.indexing.coerce import as_quantiser
    from activeindex.stores.register import register
    from activeindex.stores.store import Store

__version__ = "0.2.0"

__all__ = [
    "EXTRACTORS",
    "PRESETS",
    "ActivatedImage",
    "ActivationResult",
    "ActivationSettings",
    "ActiveIndexError",
    "Budget",
    "Edit",
    "Extractor",
    "FileFormat",
    "InputError",
    "ReleaseSettings",
    "Store",
    "TrainedIndex",
    "activate",
    "activate_folder",
    "as_extractor",
    "as_quantiser",
    "evaluate",
    "extract",
    "load_extractor",
    "read_features",
    "register",
    "set_max_pixels",
    "train_index",
]

_MODULES = {
    "EXTRACTORS": "extractors.cards:CARDS",
    "PRESETS": "activation.settings",
    "ActivatedImage": "activation.results",
    "ActivationResult": "activation.results",
    "ActivationSettings": "activation.settings",
    "ActiveIndexError": "errors",
    "Budget": "activation.settings",
    "Edit": "edits.named",
    "Extractor": "extractors.base",
    "FileFormat": "images.formats",
    "InputError": "errors",
    "ReleaseSettings": "activation.settings",
    "Store": "stores.store",
    "TrainedIndex": "indexing.artefact",
    "activate": "activation.activate",
    "activate_folder": "activation.folder",
    "as_extractor": "extractors.adapt",
    "as_quantiser": "indexing.coerce",
    "evaluate": "experiment.evaluate",
    "extract": "extractors.coerce",
    "load_extractor": "extractors.named",
    "read_features": "extractors.feature_files",
    "register": "stores.register",
    "set_max_pixels": "images.limits",
    "train_index": "indexing.artefact",
}
"""Module of each public name; ``module:NAME`` where the name differs there."""


if not TYPE_CHECKING:  # Type checkers are to see the names above, and no others.

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _MODULES[name].partition(":")
        value = getattr(import_module(f"{__name__}.{module}"), attribute or name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
