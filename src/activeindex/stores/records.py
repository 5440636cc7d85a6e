"""What a store keeps of an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from activeindex.activation.records import record_json, was_changed
from activeindex.errors import InputError, ShapeError
from activeindex.indexing.quantiser import Quantiser

MEASURES = ("psnr", "ssim", "linf", "distance_before", "distance_after")
"""Numbers in the record of an activation, which filters can name; null where there is none."""

_LAST_BITS = 1e-3
"""How far apart, of their length, reconstructions are that last bits of a feature part."""


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

        Codes of one inverted list that hold (nearly) the features themselves may differ in their
        last bits: then it is what is reconstructed that tells.
        """
        return [
            name
            for name, code in zip(self.names, codes, strict=True)
            if (record := self.activations.get(name)) is not None
            and not same_code(code, record.get("code"), quantiser)
        ]

    def take(self, rows: Sequence[int]) -> "Batch":
        """Some of the images."""
        return Batch(
            [self.names[row] for row in rows],
            self.features[list(rows)],
            [self.sha256[row] for row in rows] if self.sha256 else (),
            self.activations,
        )


def same_code(code: npt.NDArray[np.uint8], noted: object, quantiser: Quantiser) -> bool:
    """Whether a code ``(code_size,)`` is, but for last bits, what a record notes (as hex)."""
    if code.tobytes().hex() == noted:
        return True
    try:
        other = np.frombuffer(bytes.fromhex(str(noted)), np.uint8)
    except ValueError:
        return False
    lists = quantiser.list_size  # FAISS would abort at the number of a list that is not there.
    if len(other) != len(code) or not np.array_equal(code[:lists], other[:lists]):
        return False
    first, second = quantiser.decode(np.stack([code, other]))
    return bool(np.linalg.norm(first - second) <= _LAST_BITS * np.linalg.norm(first))


def _number(record: Mapping[str, Any] | None, name: str) -> float | None:
    value = None if record is None else record.get(name)
    if name == "psnr" and record is not None and name in record and value is None:
        return math.inf  # Of an unchanged image; JSON has none.
    return float(value) if isinstance(value, int | float) else None
