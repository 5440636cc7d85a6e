"""What is known of a trained index: what it was made of, and what identifies it."""

import platform
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from activeindex import __version__
from activeindex.errors import InputError
from activeindex.identity import ExtractorIdentity, QuantiserIdentity
from activeindex.indexing.training import Metric
from activeindex.runtime.files import read_json, write_json


@dataclass(frozen=True)
class Manifest:
    """What a trained index was made of.

    Attributes:
        idx_factory: FAISS factory string.
        quant: Metric, ``L2`` or ``IP``.
        dimension: Number of values in a feature.
        extractor: The extractor of the training features, if it is known.
        training_features: How many features the index was trained on.
        training_sha256: Hash of their values.
        edited_sha256: Hashes of the features of edited copies, where a projection was fitted on
            them.
        sha256: Hash of the FAISS file.
        libraries: Versions of what trained it.
    """

    idx_factory: str
    quant: Metric
    dimension: int
    extractor: ExtractorIdentity | None
    training_features: int
    training_sha256: str
    sha256: str
    libraries: dict[str, str]
    edited_sha256: list[str] = field(default_factory=list)

    @property
    def identity(self) -> QuantiserIdentity:
        """What identifies the index."""
        return QuantiserIdentity(f"{self.idx_factory} {self.quant}", self.sha256)

    def write(self, path: Path) -> None:
        """Writes the manifest as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a manifest.

        Raises:
            InputError: If the file is not one.
        """
        value: dict[str, Any] = read_json(path)
        required = [each.name for each in fields(cls) if each.default_factory is MISSING]
        missing = [name for name in required if name not in value]
        if missing:
            raise InputError(
                f"{path}: expected the manifest of an index, found no {', '.join(missing)}"
            )
        known = {each.name: value[each.name] for each in fields(cls) if each.name in value}
        extractor = ExtractorIdentity.from_json(known["extractor"], value.get("extractor_sha256"))
        return cls(**{**known, "extractor": extractor})


def library_versions() -> dict[str, str]:
    """The versions that the codes of an index may depend on."""
    return {
        "activeindex": __version__,
        "faiss": faiss.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
