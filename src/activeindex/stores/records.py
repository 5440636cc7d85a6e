"""What a store keeps of an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from activeindex.activation.records import record_json, was_changed
from activeindex.errors import InputError, ShapeError
from activeindex.indexing import Quantiser

MEASURES = ("psnr", "ssim", "linf", "distance_before", "distance_after")
"""Numbers in the record of an activation, which filters can name; null where there is none."""

_LAST_BITS = 1e-5
"""How far apart, of their length, two extractions of one feature may be."""


@dataclass(frozen=True)
class Record:
    """An image in a store.

    Attributes:
        id: Its number, never given twice in a store.
        name: Its name, unique in its generation.
        sha256: Hash of the original's file, if it is known.
        code: What the quantiser stores for the original's feature.
        activation: Its record of activation, if it has one.
        generation: The name of the quantiser that it is searched through.
    """

    id: int
    name: str
    sha256: str | None
    code: bytes
    activation: Mapping[str, Any] | None
    generation: str

    @property
    def activated(self) -> bool:
        """Whether it was changed before release."""
        return self.activation is not None and was_changed(self.activation)


@dataclass(frozen=True)
class Batch:
    """``n`` images to be added.

    Attributes:
        names: Their names, without duplicates.
        features: ``(n, d)``, of the originals.
        sha256: Hashes of the originals' files, where they are known; empty for none.
        activations: Their records of activation, by name.

    Raises:
        ShapeError: If there are not as many features as names.
        InputError: If a name comes twice.
    """

    names: Sequence[str]
    features: npt.NDArray[np.float32]
    sha256: Sequence[str | None] = ()
    activations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.names):
            raise ShapeError("features", (len(self.names), "d"), self.features.shape)
        if not np.isfinite(self.features).all():
            raise InputError("features: expected finite values, found NaN or infinity")
        if len(set(self.names)) < len(self.names):
            seen: set[str] = set()
            twice = next(n for n in self.names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
            raise InputError(f"names: expected each once, found {twice!r} twice")

    def __len__(self) -> int:
        return len(self.names)

    def hash_of(self, row: int) -> str | None:
        """SHA-256 of an original: as given, or as its record of activation says."""
        if self.sha256 and self.sha256[row] is not None:
            return self.sha256[row]
        value = self.activations.get(self.names[row], {}).get("sha256")
        return None if value is None else str(value)

    def columns(self) -> dict[str, list[Any]]:
        """Name, hash, measures and record of every image, as a store keeps them."""
        records = [self.activations.get(name) for name in self.names]
        return {
            "name": list(self.names),
            "sha256": [self.hash_of(row) for row in range(len(self))],
            **{name: [_number(record, name) for record in records] for name in MEASURES},
            "activation": [None if record is None else record_json(record) for record in records],
        }

    @property
    def activated(self) -> int:
        """How many were changed before release."""
        records = map(self.activations.get, self.names)
        return sum(record is not None and was_changed(record) for record in records)

    def moved(self, codes: npt.NDArray[np.uint8], quantiser: Quantiser) -> list[str]:
        """Names of images whose code, of ``(n, code_size)``, is not what their record says.

        Codes that hold the features themselves may differ in their last bits: then it is what is
        reconstructed that tells.
        """
        names = []
        for name, code in zip(self.names, codes, strict=True):
            record = self.activations.get(name)
            if record is not None and code.tobytes().hex() != record.get("code"):
                noted = _code(record.get("code"), len(code))
                if noted is None or _apart(*quantiser.decode(np.stack([code, noted]))):
                    names.append(name)
        return names

    def take(self, rows: Sequence[int]) -> "Batch":
        """Some of the images."""
        return Batch(
            [self.names[row] for row in rows],
            self.features[list(rows)],
            [self.sha256[row] for row in rows] if self.sha256 else (),
            self.activations,
        )


def _code(value: object, size: int) -> npt.NDArray[np.uint8] | None:
    """A code of a record; None if it cannot be one of this size."""
    try:
        code = bytes.fromhex(str(value))
    except ValueError:
        return None
    return np.frombuffer(code, np.uint8) if len(code) == size else None


def _apart(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> bool:
    return bool(np.linalg.norm(first - second) > _LAST_BITS * np.linalg.norm(first))


def _number(record: Mapping[str, Any] | None, name: str) -> float | None:
    value = None if record is None else record.get(name)
    return float(value) if isinstance(value, int | float) else None
